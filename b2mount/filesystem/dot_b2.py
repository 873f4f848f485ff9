"""What is below `.b2`, put together."""

from __future__ import annotations

import time
from collections import Counter
from typing import Final

from b2mount.filesystem.moments_directory import TopCatalog
from b2mount.filesystem.numbers import TOP
from b2mount.filesystem.past import Past
from b2mount.model import ObjectPath
from b2mount.namespace.account_tree import AccountTree
from b2mount.namespace.catalog import Catalog
from b2mount.namespace.history import Rule, as_of
from b2mount.namespace.history_tree import HistoryTree
from b2mount.namespace.namespace import Namespace
from b2mount.namespace.posix_info import AttributeDefaults, bare_directory
from b2mount.namespace.tree import Tree
from b2mount.reading.fetcher import BlockFetcher
from b2mount.store.interface import ObjectStore

PAST_TTL: Final = 600.0
"""Seconds for which the names of a moment are believed. What has passed changes only when versions are
deleted, or when a large file that was started then is finished."""
MAX_NAMES: Final = 100_000
"""Of one moment."""
NS_PER_MS: Final = 1_000_000


def history(store: ObjectStore, root: ObjectPath, rule: Rule) -> Tree:
    """What a rule shows of a bucket, or of all buckets that are there now."""
    buckets = HistoryTree(store, rule, store.account.prefix)
    return AccountTree(store, buckets) if root.is_account else buckets


def make_past(
    store: ObjectStore, root: ObjectPath, defaults: AttributeDefaults, fetcher: BlockFetcher
) -> Past:
    """The directory `.b2` of a mount."""
    known: Counter[int] = Counter()

    def at_moment(moment_ms: int, first: int) -> Catalog:
        return Namespace(
            history(store, root, as_of(moment_ms)),
            root,
            defaults=defaults,
            ttl=PAST_TTL,
            max_names=MAX_NAMES,
            now_ns=lambda: moment_ms * NS_PER_MS,
            root_number=first,
        )

    top = TopCatalog(
        root.directory(".b2"),
        bare_directory(defaults, time.time_ns()),
        {},
        at_moment,
        lambda area: known[area] > 0,
    )
    return Past(top, {TOP: top}, known, fetcher)
