"""What is below `.b2`, put together."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from b2mount.filesystem.filesystem import FileSystem
from b2mount.filesystem.moments_directory import TopCatalog
from b2mount.filesystem.numbers import ENTRANCE, NAMES, TOP, TRASH, VERSIONS, first_number
from b2mount.filesystem.past import Past
from b2mount.filesystem.restoring import Restorer, Told
from b2mount.namespace.catalog import Catalog
from b2mount.namespace.history import Rule, as_of, trashed
from b2mount.namespace.namespace import Namespace
from b2mount.namespace.odd_keys import OddKeys
from b2mount.namespace.posix_info import NS_PER_MS, AttributeDefaults, bare_directory
from b2mount.namespace.shelf import Shelf
from b2mount.namespace.trees import PAST_TTL, past_tree
from b2mount.namespace.version_lists import TTL, VersionLists
from b2mount.reading.fetcher import BlockFetcher
from b2mount.store.interface import ObjectStore
from b2mount.writing.mover import Mover

NAMES_TTL: Final = 60.0
"""Seconds for which it is believed which names no path can spell: it takes a look at all of them."""
MAX_NAMES: Final = 100_000
"""Of one moment, or of the trash."""


def make_past(
    live: FileSystem,
    names: Namespace,
    store: ObjectStore,
    fetcher: BlockFetcher,
    mover: Mover,
    defaults: AttributeDefaults,
    tell_kernel: Callable[[Told], None],
    *,
    deletes: bool,
) -> Past:
    """The directory `.b2` of a mount; `names` are those of the bucket as it is. `deletes` is for
    --unlink=delete."""
    root, started_ns = names.root.path, time.time_ns()
    known: Counter[int] = Counter()

    def tree(rule: Rule, first: int, ttl: float, made_ns: int) -> Namespace:
        return Namespace(
            past_tree(store, root, rule),
            root,
            defaults=defaults,
            ttl=ttl,
            max_names=MAX_NAMES,
            now_ns=lambda: made_ns,
            root_number=first,
        )

    lists = VersionLists(store, store.account.prefix)
    versions = Shelf(
        lists,
        root,
        defaults=defaults,
        ttl=TTL,
        root_number=first_number(VERSIONS),
        started_ns=started_ns,
    )
    odd = Shelf(
        OddKeys(store, root, ENTRANCE, store.account.prefix),
        root,
        defaults=defaults,
        ttl=NAMES_TTL,
        root_number=first_number(NAMES),
        started_ns=started_ns,
    )
    trash = tree(trashed, first_number(TRASH), TTL, started_ns)
    restorer = Restorer(
        names,
        store,
        lists,
        mover,
        live.flush_at,
        live.by_path.refresh_at,
        live.in_use,
        live.made,
        deletes,
    )
    top = TopCatalog(
        root.directory(ENTRANCE),
        bare_directory(defaults, started_ns),
        {"trash": trash, "versions": versions, "names": odd},
        lambda moment, first: tree(as_of(moment), first, PAST_TTL, moment * NS_PER_MS),
        lambda area: known[area] > 0,
    )
    forgetful = (lambda: trash.forget_listing(None), versions.forget_listing, lists.forget)
    catalogs: dict[int, Catalog] = {TOP: top, TRASH: trash, VERSIONS: versions, NAMES: odd}
    return Past(
        top,
        catalogs,
        known,
        fetcher,
        trash,
        odd,
        restorer,
        store,
        tell_kernel,
        forgetful,
        live.in_use,
        live.check_there,
    )
