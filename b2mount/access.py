"""What is to be mounted, and what the key may do with it: asked once, before anything is built.

One line in the log says what the mount will not be able to do; what makes it pointless is an error.
"""

from __future__ import annotations

import logging
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
from b2mount.store.interface import ObjectStore

log = logging.getLogger(__name__)

PATIENCE: Final = 5.0
"""Seconds of silence at the start, after which a person wants to know why."""
SHORTEST_WAIT: Final = 10.0
"""Seconds that one request may take at least, however short --retry-for is."""
USED: Final = ("listFiles", "readFiles", "writeFiles")
USED_FOR_BUCKETS: Final = ("writeBuckets", "deleteBuckets")
"""For making and removing them at the top of a whole account."""


@attrs.frozen
class Access:
    """What a mount shows, and what it lacks."""

    root: ObjectPath
    source: Source
    """What is mounted in fact: a key for a prefix makes it less than was asked for."""
    read_only: bool
    missing: tuple[str, ...]
    """Capabilities that the key has not."""


async def open_store(options: MountOptions) -> B2Store:
    """The account of the first credentials that are found. Raises NotAuthorized, Unavailable."""
    credentials = find_credentials(file=options.credentials, profile=options.profile)
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
            )
        except Unavailable as error:
            hint = f"check the network and B2_ENVIRONMENT (B2 is {credentials.realm})"
            raise Unavailable(f"{error}: {hint}") from error
        finally:
            waiting.cancel_scope.cancel()
    raise AssertionError("unreachable")


async def find_access(store: ObjectStore, options: MountOptions) -> Access:
    """Raises UsageError, NotFound for the bucket, AccessDenied when the key can't do what is asked."""
    root = await _root(store, options.source)
    used = USED + (USED_FOR_BUCKETS if root.is_account else ())
    missing = tuple(name for name in used if name not in store.account.capabilities)
    if "listFiles" in missing:
        raise AccessDenied("the key may not list files (no listFiles): use another key")
    if options.unlink is Unlink.DELETE and "deleteFiles" not in store.account.capabilities:
        raise AccessDenied("the key may not delete files (no deleteFiles): leave out --unlink=delete")
    if "readFiles" in missing:
        log.warning("the key may not read files (no readFiles): what is in them can't be seen")
    if "writeFiles" in missing and not options.read_only:
        log.warning("the key may not write (no writeFiles): %s is mounted read-only", options.source)
    elif "writeBuckets" in missing or "deleteBuckets" in missing:
        lacking = ", ".join(name for name in missing if name in USED_FOR_BUCKETS)
        log.warning("buckets can't be made or removed at the top: the key has no %s", lacking)
    source = Source(root.bucket, root.key)
    if source != options.source:
        log.warning("the key sees only a part of the bucket: %s is mounted", source)
    return Access(root, source, options.read_only or "writeFiles" in missing, missing)


async def _root(store: ObjectStore, source: Source) -> ObjectPath:
    bucket, prefix = source.bucket, source.prefix
    if not bucket:
        if "listBuckets" not in store.account.capabilities and store.account.buckets is None:
            raise AccessDenied("the key may not list buckets (no listBuckets): name the bucket to mount")
        return ObjectPath("", "")
    names = [found.name for found in await store.list_buckets()]
    if bucket not in names:
        known = f"; there are: {', '.join(names[:10])}" if names else ""
        raise NotFound(f"no bucket {bucket!r} that this key can see{known}")
    visible = store.account.prefix
    if not prefix.startswith(visible):
        if not visible.startswith(prefix):
            allowed = f"{bucket}/{visible}"
            raise AccessDenied(f"the key sees only {allowed!r}: mount that, or use another key")
        prefix = visible[: visible.rfind("/") + 1]
    root = ObjectPath(bucket, prefix)
    if source.prefix and prefix == source.prefix:
        await _check_directory(store, root)
    return root


async def _check_directory(store: ObjectStore, root: ObjectPath) -> None:
    """A mistyped directory is worth a word, a file is an error."""
    if "listFiles" not in store.account.capabilities:
        return
    page = await store.list_objects(root.bucket, root.key, limit=1)
    if page.objects or page.next_key is not None:
        return
    name = root.key.removesuffix("/")
    page = await store.list_objects(root.bucket, name, limit=1)
    if any(version.path.key == name for version in page.objects):
        raise UsageError(f"{root.bucket}/{name} is a file: name the directory that it is in")
    log.warning("there is nothing in %s yet", root)


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
