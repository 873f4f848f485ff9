from __future__ import annotations

import logging

from b2mount.recent_troubles import KEPT, LONGEST, RecentTroubles


def test_the_last_warnings_and_errors_are_kept() -> None:
    log = logging.Logger("some")  # in no tree
    troubles = RecentTroubles()
    log.addHandler(troubles)
    log.info("nothing")
    assert not troubles.latest
    for number in range(KEPT + 5):
        log.warning("%d", number)
    log.error("x" * 10_000)
    assert [each.text for each in troubles.latest[:2]] == ["6", "7"]
    assert len(troubles.latest) == KEPT
    assert troubles.latest[-1].text == "x" * LONGEST
