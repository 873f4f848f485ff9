"""What `b2mount doctor` looks at on the way to B2 and in it: credentials, network, key, bucket, and what lies
in the bucket unseen. It only asks, with a bounded number of calls and in bounded time."""

from __future__ import annotations

import stat
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import attrs
import trio

from b2mount.access import Access, check_options, find_access, in_words, lacking
from b2mount.cli import wording
from b2mount.cli.finding import Finding, Mark, ok, trouble, warning
from b2mount.errors import B2MountError, Unavailable, UsageError, cause_of
from b2mount.model import Action, ObjectPath
from b2mount.options import MountOptions
from b2mount.store.b2_session import Timeouts
from b2mount.store.b2_store import open_b2_store
from b2mount.store.credentials import Credentials, find_credentials
from b2mount.store.encryption import read_key
from b2mount.store.interface import Account, MultipartUpload, ObjectStore, VersionCursor
from b2mount.store.probe import Reach, probe

NETWORK_TIME: Final = 60.0
"""Seconds for everything that needs the network."""
RETRY_FOR: Final = 10.0
LARGEST_SKEW: Final = 300.0
PAGES: Final = 20
"""Calls of class C that may be spent on old versions."""
LISTED: Final = 5
"""Unfinished uploads that are named."""
MEASURED: Final = 20
"""Unfinished uploads whose parts are asked for, a call of class C each."""
DOLLARS_PER_BYTE_MONTH: Final = 0.006 / 1e9
"""Backblaze's list price for storage."""
USED: Final = ("listBuckets", "listFiles", "readFiles", "writeFiles", "deleteFiles", "shareFiles")

Tell = Callable[[Finding], None]


async def look_at_account(
    options: MountOptions, started: frozenset[str], *, bucket: bool, tell: Tell
) -> None:
    """In the order in which a mount would meet them; `started` are large files of ours, `bucket` says
    whether a source was named."""
    try:
        credentials = find_credentials(file=options.credentials, profile=options.profile)
    except B2MountError as error:
        tell(trouble("credentials", error))
        return
    tell(look_at_credentials(credentials))
    if options.encryption.key_file is not None:
        tell(look_at_encryption(options.encryption.key_file))
    with trio.move_on_after(NETWORK_TIME) as scope:
        reach = await probe(credentials.realm)
        for finding in look_at_reach(reach):
            tell(finding)
        if reach.trouble is None:
            await _ask(credentials, options, started, bucket=bucket, tell=tell)
    if scope.cancelled_caught:
        tell(trouble("network", Unavailable(f"B2 did not answer everything within {NETWORK_TIME:.0f} s")))


def look_at_credentials(credentials: Credentials) -> Finding:
    """Which were found, and who else may read them."""
    text = f"from {credentials.origin}, key id {credentials.key_id}"
    try:
        mode = credentials.file.stat().st_mode if credentials.file else 0
    except OSError:
        mode = 0
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        return warning("credentials", f"{text}; others may read them", f"chmod 600 {credentials.file}")
    return ok("credentials", text)


def look_at_encryption(path: Path) -> Finding:
    """Whether the file of --encryption holds a key."""
    try:
        read_key(path)
    except UsageError as error:
        return trouble("encryption", error)
    return ok("encryption", f"key from {path}")


def look_at_reach(reach: Reach) -> list[Finding]:
    """How far one comes, and the clock."""
    took = ", ".join(f"{step.name} {1000 * step.seconds:.0f} ms" for step in reach.steps if not step.trouble)
    if reach.trouble is not None:
        how = f"{reach.url}: {reach.trouble.trouble} ({reach.trouble.name})"
        mend = "check the network, its proxy and B2_ENVIRONMENT"
        return [trouble("network", Unavailable(how), mend)]
    through = f" through the proxy {reach.proxy}" if reach.proxy else ""
    found = [ok("network", f"{reach.url} answers{through}: {took}")]
    if reach.skew is not None and abs(reach.skew) >= LARGEST_SKEW:
        way = "ahead of" if reach.skew > 0 else "behind"
        text = f"this machine is {wording.span(abs(reach.skew))} {way} B2"
        found.append(warning("clock", text, "set it: the times of files and moments such as --at are off"))
    elif reach.skew is not None:
        found.append(ok("clock", "agrees with B2's"))
    return found


async def _ask(
    credentials: Credentials, options: MountOptions, started: frozenset[str], *, bucket: bool, tell: Tell
) -> None:
    begun = time.monotonic()
    timeouts = Timeouts(connect=RETRY_FOR, reply=RETRY_FOR, upload_reply=RETRY_FOR, copy=RETRY_FOR)
    try:
        store = await open_b2_store(credentials, retry_for=RETRY_FOR, timeouts=timeouts)
    except BaseExceptionGroup as group:
        error = cause_of(group)
        if not isinstance(error, B2MountError):
            raise
        tell(trouble("key", error))
        return
    except B2MountError as error:
        tell(trouble("key", error))
        return
    try:
        tell(ok("key", f"B2 knows it; authorized in {1000 * (time.monotonic() - begun):.0f} ms"))
        for finding in look_at_key(store.account, options, time.time()):
            tell(finding)
        if bucket:
            await _look_at_source(store, options, started, tell)
    finally:
        store.close()


def look_at_key(account: Account, options: MountOptions, now: float) -> list[Finding]:
    """What the key may do, for how long, and what a mount lacks with it."""
    found = [ok("key", _limits(account))]
    if account.expires_ms is not None:
        left = account.expires_ms / 1000 - now
        day = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(account.expires_ms / 1000))
        text = f"it expires in {wording.span(left)}, on {day}"
        mend = "what is unsent by then waits for a mount with another key"
        found.append(warning("key", text, mend) if left < 7 * 86_400 else ok("key", text))
    try:
        check_options(account, options)
    except B2MountError as error:
        return [*found, trouble("key", error)]
    found += [warning("key", in_words(name)) for name in lacking(account, options)]
    return found


def _limits(account: Account) -> str:
    can = [name for name in USED if name in account.capabilities]
    buckets = "all buckets" if account.buckets is None else f"the buckets {', '.join(account.buckets)}"
    prefix = f", names that begin with {account.prefix!r}" if account.prefix else ""
    return f"has {', '.join(can) or 'no capability that a mount uses'}; for {buckets}{prefix}"


async def _look_at_source(
    store: ObjectStore, options: MountOptions, started: frozenset[str], tell: Tell
) -> None:
    try:
        access = await find_access(store, options)
        tell(ok("source", f"{access.source} is there"))
        for remark in access.remarks[len(access.missing) :]:
            tell(warning("source", remark))
        roots = await _roots(store, access)
        await _look_at_uploads(store, roots, started, tell)
        tell(judge_versions(await weigh_versions(store, roots)))
    except B2MountError as error:
        tell(trouble("source", error))


async def _roots(store: ObjectStore, access: Access) -> list[ObjectPath]:
    prefix = store.account.prefix
    if not access.root.is_account:
        return [access.root]
    return [ObjectPath(bucket.name, prefix) for bucket in await store.list_buckets()]


# -- unfinished uploads ----------------------------------------------------------------------


async def _look_at_uploads(
    store: ObjectStore, roots: Sequence[ObjectPath], started: frozenset[str], tell: Tell
) -> None:
    uploads = [upload for root in roots for upload in await store.list_unfinished(root.bucket, root.key)]
    sizes: dict[str, int] = {}
    for upload in uploads[:MEASURED]:
        try:
            sizes[upload.upload_id] = sum(part.size for part in await store.list_parts(upload))
        except B2MountError:  # gone by now, or not to be asked with this key
            continue
    for finding in judge_uploads(uploads, sizes, started, time.time()):
        tell(finding)


def judge_uploads(
    uploads: Sequence[MultipartUpload], sizes: dict[str, int], started: frozenset[str], now: float
) -> list[Finding]:
    """Large files that were started and not finished: ours go on by themselves, the others cost."""
    ours = [upload for upload in uploads if upload.upload_id in started]
    others = sorted((u for u in uploads if u.upload_id not in started), key=lambda u: u.started_ms)
    found = []
    if ours:
        found.append(ok("uploads", f"unfinished ones of ours: {len(ours)}; a mount goes on with them"))
    for upload in others[:LISTED]:
        size = f", {wording.size(sizes[upload.upload_id])}" if upload.upload_id in sizes else ""
        age = wording.span(now - upload.started_ms / 1000)
        mend = f"if nobody is at it, `b2 file large unfinished cancel b2id://{upload.upload_id}`"
        found.append(warning("uploads", f"{upload.path} was begun {age} ago and not finished{size}", mend))
    if len(others) > LISTED:
        places = sorted({f"b2://{upload.path.bucket}" for upload in others})
        mend = " and ".join(f"`b2 file large unfinished list {place}`" for place in places)
        found.append(warning("uploads", f"and {len(others) - LISTED} more", mend))
    return found or [ok("uploads", "none is unfinished")]


# -- old versions ----------------------------------------------------------------------------


@attrs.define
class OldVersions:
    """What is stored and not seen."""

    versions: int = 0
    """Those that a later one, or a hide marker, has taken the place of."""
    size: int = 0
    rows: int = 0
    """Versions of all kinds that were looked at."""
    is_cut: bool = False
    """There is more."""


async def weigh_versions(store: ObjectStore, roots: Sequence[ObjectPath]) -> OldVersions:
    """Old and hidden versions below these, as far as PAGES calls reach."""
    old, pages = OldVersions(), 0
    for root in roots:
        newest: str | None = None
        cursor: VersionCursor | None = None
        while True:
            if pages == PAGES:
                old.is_cut = True
                return old
            page = await store.list_versions(root.bucket, root.key, start=cursor)
            pages += 1
            for version in page.versions:
                old.rows += 1
                if version.action is Action.START:
                    continue
                if version.path.key == newest and version.action is Action.UPLOAD:
                    old.versions += 1
                    old.size += version.size
                newest = version.path.key
            cursor = page.next_cursor
            if cursor is None:
                break
    return old


def judge_versions(old: OldVersions) -> Finding:
    """What they cost a month."""
    cost = old.size * DOLLARS_PER_BYTE_MONTH
    beginning = f"of the first {old.rows:,} versions, " if old.is_cut else ""
    if not old.versions:
        return ok("versions", f"{beginning}none is old or hidden")
    text = f"{beginning}{old.versions:,} are old or hidden: {wording.size(old.size)}, ${cost:.2f} a month"
    mend = "--keep-versions, --unlink=delete or a lifecycle rule of the bucket keep them fewer"
    return Finding(Mark.OK, "versions", text, mend if old.size else "")
