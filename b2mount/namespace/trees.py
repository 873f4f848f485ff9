"""What a mount shows: a bucket or a whole account, as it is or as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from b2mount.model import ObjectPath, ObjectVersion
from b2mount.namespace.account_tree import AccountTree
from b2mount.namespace.bucket_tree import BucketTree
from b2mount.namespace.history import Rule, as_of
from b2mount.namespace.history_tree import HistoryTree
from b2mount.namespace.name_index import NameIndex
from b2mount.namespace.namespace import Namespace
from b2mount.namespace.posix_info import NS_PER_MS, AttributeDefaults
from b2mount.namespace.tree import Tree
from b2mount.store.interface import ObjectStore

PAST_TTL: Final = 600.0
"""Seconds for which the names of a moment are believed. What has passed changes only when versions are
deleted, or when a large file that was started then is finished."""


def names_of(
    store: ObjectStore,
    root: ObjectPath,
    defaults: AttributeDefaults,
    *,
    at: int | None,
    ttl: float,
    max_names: int,
    index: NameIndex,
    seen: Callable[[ObjectVersion], object],
) -> Namespace:
    """The names of a mount, as of a moment (milliseconds since 1970) or, for None, as they are; then `seen`
    hears of every big object that a listing shows."""
    if at is None:
        tree = live_tree(store, root, seen)
        return Namespace(tree, root, defaults=defaults, ttl=ttl, max_names=max_names, index=index)
    return Namespace(
        past_tree(store, root, as_of(at)),
        root,
        defaults=defaults,
        ttl=max(ttl, PAST_TTL),
        max_names=max_names,
        now_ns=lambda: at * NS_PER_MS,
    )


def live_tree(
    store: ObjectStore, root: ObjectPath, seen: Callable[[ObjectVersion], object] = lambda version: None
) -> Tree:
    """What is there now."""
    buckets = BucketTree(store, store.account.prefix, seen=seen)
    return AccountTree(store, buckets) if root.is_account else buckets


def past_tree(store: ObjectStore, root: ObjectPath, rule: Rule) -> Tree:
    """What a rule shows, of the buckets that are there now."""
    buckets = HistoryTree(store, rule, store.account.prefix)
    return AccountTree(store, buckets) if root.is_account else buckets
