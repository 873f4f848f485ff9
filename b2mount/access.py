"""What is to be mounted, and what the key may do with it: asked once, before anything is built.

One line in the log (`tell`) says what the mount can't do; what makes it pointless is an error.
"""

from __future__ import annotations

import hashlib
import json
import logging
from functools import partial
from pathlib import Path
from typing import Final

import attrs
import trio

from b2mount.errors import AccessDenied, NotFound, Unavailable, UsageError
from b2mount.model import ObjectPath
from b2mount.options import MountOptions, Source, Unlink
from b2mount.store.b2_client import Lanes
from b2mount.store.b2_session import Timeouts
from b2mount.store.b2_store import B2Store, open_b2_store
from b2mount.store.credentials import find_credentials
from b2mount.store.encryption import open_keyring
from b2mount.store.interface import Account, ObjectStore

log = logging.getLogger(__name__)

PATIENCE: Final = 5.0
"""Seconds of silence at the start, after which a person wants to know why."""
SHORTEST_WAIT: Final = 10.0
"""Seconds that one request may take at least, however short --retry-for is."""
LACKS: Final = {
    "readFiles": "files can't be read, renamed or changed in part",
    "writeFiles": "nothing can be changed: it is mounted read-only",
    "shareFiles": "`b2mount url --expires` makes no links",
    "writeBuckets": "mkdir at the top makes no buckets",
    "deleteBuckets": "rmdir at the top removes no buckets",
}
"""What a mount can't do without a capability."""
FOR_READING: Final = frozenset({"readFiles", "shareFiles"})
FOR_BUCKETS: Final = frozenset({"writeBuckets", "deleteBuckets"})
"""Of use to a mount of the whole account only."""
UNIMPORTANT: Final = frozenset({"shareFiles"})
"""Nobody is to be warned of what few will ask for."""


@attrs.frozen
class Access:
    """What a mount shows, and what it lacks."""

    root: ObjectPath
    identity: str
    """Of the names that can be seen: of the account, of this very bucket, of what the key is limited to."""
    source: Source
    """What is mounted in fact: a key for a prefix makes it less than was asked for."""
    read_only: bool
    missing: tuple[str, ...]
    """Capabilities that the key has not."""
    remarks: tuple[str, ...] = ()
    """What the mount can't do for want of them, that it shows less than was asked for, or nothing yet."""
    is_remarkable: bool = False
    """Whether a person should be told unasked."""


async def open_store(options: MountOptions) -> B2Store:
    """The account of the first credentials that are found. Raises NotAuthorized, Unavailable, and UsageError
    for the file of an encryption key."""
    find = partial(find_credentials, file=options.credentials, profile=options.profile)
    credentials = find()
    keyring = open_keyring(options.encryption.mode, options.encryption.key_file)
    async with trio.open_nursery() as waiting:
        waiting.start_soon(_say_that_it_takes_long, credentials.realm)
        try:
            return await open_b2_store(
                credentials,
                lanes=Lanes(),
                retry_for=options.retry_for,
                limit_download=options.limit_download,
                limit_upload=options.limit_upload,
                timeouts=_timeouts(options.retry_for),
                keyring=keyring,
                find_again=find,
            )
        except Unavailable as error:
            hint = f"check the network and B2_ENVIRONMENT (B2 is {credentials.realm})"
            raise Unavailable(f"{error}: {hint}") from error
        finally:
            waiting.cancel_scope.cancel()
    raise AssertionError("unreachable")


async def find_access(store: ObjectStore, options: MountOptions) -> Access:
    """Raises UsageError, NotFound for the bucket, AccessDenied when the key can't do what is asked."""
    check_options(store.account, options)
    root, bucket_id = await _root(store, options.source)
    names = lacking(store.account, options)
    source = Source(root.bucket, root.key)
    found = []
    if source != options.source:
        found.append(f"{source} is mounted: the key sees only a part of the bucket")
    elif source.prefix and await _is_bare(store, root):
        found.append(f"there is nothing in {root} yet")
    account = store.account
    seen = [account.account_id, bucket_id, account.buckets, account.prefix, root.bucket, root.key]
    return Access(
        root,
        json.dumps(seen),
        source,
        options.read_only or "writeFiles" in names,
        names,
        (*(in_words(name) for name in names), *found),
        bool(found) or not UNIMPORTANT.issuperset(names),
    )


def lacking(account: Account, options: MountOptions) -> tuple[str, ...]:
    """The capabilities that a mount with these options could use and the key has not."""
    useless = {name for name in LACKS if options.read_only and name not in FOR_READING}
    if options.source.bucket:
        useless |= FOR_BUCKETS
    return tuple(name for name in LACKS if name not in useless | account.capabilities)


def in_words(capability: str) -> str:
    """What a mount can't do without it."""
    return f"{LACKS[capability]} (the key has no {capability})"


def check_options(account: Account, options: MountOptions) -> None:
    """Raises AccessDenied when the key lacks what the options can't do without."""
    if "listFiles" not in account.capabilities:
        raise AccessDenied("the key may not list files (no listFiles): use another key")
    if options.unlink is Unlink.DELETE and "deleteFiles" not in account.capabilities:
        raise AccessDenied("the key may not delete files (no deleteFiles): leave out --unlink=delete")
    if options.keep_versions is not None and "deleteFiles" not in account.capabilities:
        raise AccessDenied("the key may not delete files (no deleteFiles): leave out --keep-versions")


def tell(access: Access) -> None:
    """The one line in the log that says what the mount can't do."""
    if access.remarks:
        level = logging.WARNING if access.is_remarkable else logging.INFO
        log.log(level, "%s", "; ".join(access.remarks))


def tell_of_new_key(account: Account, options: MountOptions) -> None:
    """As `tell`, when another key has taken the place of the first one."""
    names = lacking(account, options)
    if names:
        level = logging.INFO if UNIMPORTANT.issuperset(names) else logging.WARNING
        log.log(level, "with the new key: %s", "; ".join(map(in_words, names)))


def state_directory(cache_dir: Path, account: Account, root: ObjectPath, *, past: bool) -> Path:
    """Of one account and one source, so that two mounts share nothing by accident and the next mount of the
    same source finds what this one leaves. A mount of the `past` has another one than that of the present."""
    identity = f"{account.account_id}\n{root.bucket}\n{root.key}" + ("\npast" if past else "")
    digest = hashlib.sha256(identity.encode()).hexdigest()[:12]
    return cache_dir / f"{root.bucket or 'account'}-{digest}"


async def _root(store: ObjectStore, source: Source) -> tuple[ObjectPath, str]:
    """What to mount, and the id of its bucket."""
    bucket, prefix = source.bucket, source.prefix
    if not bucket:
        if "listBuckets" not in store.account.capabilities and store.account.buckets is None:
            raise AccessDenied("the key may not list buckets (no listBuckets): name the bucket to mount")
        return ObjectPath("", ""), ""
    if store.account.buckets is None and "listBuckets" not in store.account.capabilities:
        raise AccessDenied(
            f"the key may not list buckets (no listBuckets), so {bucket!r} can't be found: "
            "use a key with it, or one that is bound to the bucket"
        )
    ids = {found.name: found.bucket_id for found in await store.list_buckets()}
    if bucket not in ids:
        known = f"; there are: {', '.join(list(ids)[:10])}" if ids else ""
        raise NotFound(f"no bucket {bucket!r} that this key can see{known}")
    visible = store.account.prefix
    if not prefix.startswith(visible):
        if not visible.startswith(prefix):
            allowed = f"{bucket}/{visible}"
            raise AccessDenied(f"the key sees only {allowed!r}: mount that, or use another key")
        prefix = visible[: visible.rfind("/") + 1]
    return ObjectPath(bucket, prefix), ids[bucket]


async def _is_bare(store: ObjectStore, root: ObjectPath) -> bool:
    """A mistyped directory is worth a word. Raises UsageError for a file."""
    page = await store.list_objects(root.bucket, root.key, limit=1)
    if page.objects or page.next_key is not None:
        return False
    name = root.key.removesuffix("/")
    page = await store.list_objects(root.bucket, name, limit=1)
    if any(version.path.key == name for version in page.objects):
        raise UsageError(f"{root.bucket}/{name} is a file: name the directory that it is in")
    return True


def _timeouts(retry_for: float) -> Timeouts:
    """No single request outlasts by far what the user is ready to wait for all tries together."""
    usual, longest = Timeouts(), max(SHORTEST_WAIT, retry_for)
    return Timeouts(
        connect=min(usual.connect, longest),
        reply=min(usual.reply, longest),
        upload_reply=min(usual.upload_reply, longest),
        copy=usual.copy,
    )


async def _say_that_it_takes_long(realm: str) -> None:
    await trio.sleep(PATIENCE)
    log.warning("B2 (%s) does not answer yet; still trying", realm)
