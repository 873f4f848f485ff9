"""Builds one mount, runs it until it is unmounted, and drains it; the only place that knows every class.

The order of the end, whichever way it comes (umount, `b2mount umount`, SIGTERM, SIGINT):
requests stop, what is dirty is sealed, the queue drains for a bounded time and the rest is left to
the journal, services stop, the mount point is cleared.

What can happen on the way: the kernel's connection is aborted (umount -f): pyfuse3.main returns and
the same end is taken, with the dead mount cleared. The process is killed: the journal has what was
acknowledged, and the next mount on the same cache directory goes on from there.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

import attrs
import pyfuse3
import trio

from b2mount import process
from b2mount.access import Access, find_access, lacking, open_store, state_directory, tell, tell_of_new_key
from b2mount.answers import Answers
from b2mount.control.metrics import MetricsServer, OperationCounts
from b2mount.control.server import ControlServer
from b2mount.control.unmounting import clear_dead, detach
from b2mount.costs import Costs
from b2mount.draining import DRAIN_TIME, Draining
from b2mount.errors import B2MountError, MountPointUnusable, cause_of
from b2mount.filesystem.areas import Areas
from b2mount.filesystem.copying import Copier
from b2mount.filesystem.dot_b2 import make_past
from b2mount.filesystem.filesystem import FileSystem
from b2mount.fuse.kernel import KernelNames, KernelPages, fuse_options, tune_kernel
from b2mount.fuse.operations import Operations
from b2mount.model import ObjectVersion
from b2mount.namespace.name_index import NameIndex
from b2mount.namespace.namespace import Namespace
from b2mount.namespace.posix_info import AttributeDefaults
from b2mount.namespace.trees import names_of
from b2mount.options import MountOptions, Unlink
from b2mount.private_directory import private_directory
from b2mount.reading import integrity
from b2mount.reading.block_cache import BlockCache
from b2mount.reading.fetcher import BlockFetcher
from b2mount.recent_troubles import RecentTroubles
from b2mount.service_manager import ServiceManager
from b2mount.store.b2_store import B2Store
from b2mount.store.usage_file import UsageFile
from b2mount.threads import ThreadLane
from b2mount.waking import Waking
from b2mount.writing.journal import Journal
from b2mount.writing.mover import Mover
from b2mount.writing.own_versions import OwnVersions
from b2mount.writing.pruner import Pruner
from b2mount.writing.staged_file import Staging
from b2mount.writing.twins import Twins
from b2mount.writing.upload_log import UploadLog
from b2mount.writing.uploader import Uploader
from b2mount.writing.write_back import WriteBack

log = logging.getLogger(__name__)

DISK_LANE: Final = 4
DOWNLOADS: Final = 16
"""Ranged GETs at once."""
SHORT_DOWNLOADS: Final = 64
"""And GETs of small files and single blocks, which wait for their first byte nearly all the time."""

PATIENCE: Final = 5.0
"""Seconds at the start after which a person wants to see something, or to know why not."""
UNSENT: Final = 8
"""Exit code: something is left to the next mount."""
LEAVING_TIME: Final = 5.0
"""Seconds that programs have for closing their files when the mount is told to end."""
ENDING_TIME: Final = 30.0
"""Seconds that a service manager is asked for beyond those of the draining."""

FUSE_TASKS: Final = 300
"""Handlers at once; beyond that nothing is read from the kernel, not even a stat."""


def run_mount(options: MountOptions, on_ready: Callable[[], None]) -> int:
    """Mount, call `on_ready` when the mount point answers, and return when it is unmounted: 0 when
    everything is in B2, 8 when something is left to the next mount.

    Raises, before it is ready: UsageError, NotAuthorized, AccessDenied, NotFound (no such bucket),
    Unavailable, MountPointUnusable.
    """
    process.tune()
    try:
        return trio.run(Mount(options, on_ready).run)
    except BaseExceptionGroup as group:
        raise cause_of(group) from group
    finally:
        process.ends_by_itself()


@attrs.define(eq=False)
class Mount:
    """One mount from start to end."""

    _options: MountOptions
    _on_ready: Callable[[], None]
    _troubles: RecentTroubles = attrs.field(factory=RecentTroubles)
    _kernel: ThreadLane = attrs.field(factory=lambda: ThreadLane("kernel", 2))
    """Its own: a stat of the mount point or a notification may have to wait for our own answers."""
    _pages: KernelPages = attrs.field(init=False)
    _names: KernelNames = attrs.field(factory=lambda: KernelNames(ThreadLane("names", 1).run))
    """In a lane of its own: a name can't be taken from the kernel while somebody looks it up."""
    _disk: ThreadLane = attrs.field(factory=lambda: ThreadLane("disk", DISK_LANE))
    _store: B2Store = attrs.field(init=False)
    _cache: BlockCache = attrs.field(init=False)
    _index: NameIndex = attrs.field(init=False)
    _namespace: Namespace = attrs.field(init=False)
    _journal: Journal = attrs.field(init=False)
    _write_back: WriteBack = attrs.field(init=False)
    _filesystem: FileSystem = attrs.field(init=False)
    _areas: Areas = attrs.field(init=False)
    _copier: Copier = attrs.field(init=False)
    _access: Access = attrs.field(init=False)
    _costs: Costs = attrs.field(init=False)
    _counts: OperationCounts | None = None
    _services: trio.Nursery = attrs.field(init=False)
    _device: int | None = None
    """What the mount table calls us, once we are in it."""
    _replayed: trio.Event = attrs.field(factory=trio.Event)
    """Renames that an earlier mount began are finished."""
    _served: bool = False
    """Nothing comes from the kernel any more."""
    _draining: Draining = attrs.field(init=False)
    _manager: ServiceManager = attrs.field(init=False)

    @_pages.default
    def _make_pages(self) -> KernelPages:
        return KernelPages(self._kernel.run)

    @_manager.default
    def _make_manager(self) -> ServiceManager:
        """In the background, who started us waits for no word of ours."""
        return ServiceManager(os.environ.get("NOTIFY_SOCKET") if self._options.foreground else None)

    async def run(self) -> int:
        """The whole life of the mount."""
        logging.getLogger("b2mount").addHandler(self._troubles)
        try:
            self._store = await open_store(self._options)
        except BaseExceptionGroup as group:
            raise cause_of(group) from group
        try:
            self._access = await find_access(self._store, self._options)
            tell(self._access)
            return await self._live()
        finally:
            self._store.close()

    async def _live(self) -> int:
        async with trio.open_nursery() as services:
            self._services = services
            await self._build(services)
            self._draining = Draining(self._filesystem, self._write_back)
            services.start_soon(self._manager.run, self._draining.status, DRAIN_TIME + ENDING_TIME)
            services.start_soon(self._watch_signals)
            answers = self._answers()
            services.start_soon(process.give_back_memory)
            lifetime = self._namespace.lifetime
            services.start_soon(Waking(lambda: lifetime.longest, partial(answers.refresh, None)).run)
            await services.start(ControlServer(answers, self._options.mountpoint, self._leave).run)
            if self._options.metrics is not None:
                self._counts = OperationCounts()
                await services.start(MetricsServer(self._options.metrics, self._counts, answers.status).run)
            try:
                await self._serve()
            finally:
                self._served = True
                self._manager.stopping()
                with trio.CancelScope(shield=True):
                    left = 0 if self._access.read_only else await self._draining.run()
                    await self._journal.close()
                    await self._costs.save()
                    with trio.move_on_after(LEAVING_TIME):  # else the next mount asks what is not there
                        await self._index.close()
                pyfuse3.close(unmount=True)
                with trio.move_on_after(LEAVING_TIME, shield=True):
                    await self._kernel.run(clear_dead, self._options.mountpoint)
                process.end_soon(UNSENT if left else 0)
                services.cancel_scope.cancel()
        return UNSENT if left else 0

    # -- start -----------------------------------------------------------------------------

    async def _build(self, services: trio.Nursery) -> None:
        options, store, root = self._options, self._store, self._access.root
        is_past = options.at is not None
        directory = private_directory(state_directory(options.cache_dir, store.account, root, past=is_past))
        self._cache = BlockCache(directory / "blocks", options.cache_size, self._disk)
        staging = Staging(directory / "staging", self._disk, self._cache.make_room)
        staging.open()
        await self._cache.load()
        is_protected = store.account.download_url.startswith("https:")
        whole = integrity.SMALL if is_protected else integrity.UNPROTECTED
        fetcher = BlockFetcher(
            store, self._cache, parallel=DOWNLOADS, short=SHORT_DOWNLOADS, mended=self._mended, whole=whole
        )
        self._journal = Journal(directory / "journal.sqlite3", staging, self._disk)
        await self._journal.open()
        uploader = Uploader(
            store,
            fetcher.read,
            self._disk,
            self._cache,
            UploadLog(self._journal),
            forget=fetcher.evict,
            is_protected=is_protected,
            twins=Twins.kept_in(directory / "twins.sqlite3", self._disk),
        )
        fetcher.on_begin = uploader.twins.note
        pruner = self._pruner(directory) if options.keep_versions is not None else None
        self._write_back = WriteBack(
            self._journal,
            staging,
            uploader,
            delay=options.write_back or 0,
            retry_for=options.retry_for,
            pruner=pruner,
        )
        kept_for = options.ttl if options.at is None else 0.0  # the names of a moment are not another's
        self._index = NameIndex(directory, self._access.identity, root, kept_for, self._disk)
        await self._index.open()
        defaults = AttributeDefaults(options.uid, options.gid, options.umask)
        self._namespace = names_of(
            store,
            root,
            defaults,
            at=options.at,
            ttl=options.ttl,
            max_names=options.max_names,
            index=self._index,
            seen=uploader.twins.note,
        )
        mover = Mover(store, self._journal, uploader)
        self._filesystem = FileSystem(
            self._namespace,
            fetcher,
            staging,
            self._write_back,
            mover,
            store,
            waits=options.write_back is None,
            deletes=options.unlink is Unlink.DELETE,
            room=self._cache.room,
            is_past=options.at is not None,
        )
        past = make_past(
            self._filesystem,
            self._namespace,
            store,
            fetcher,
            mover,
            defaults,
            lambda told: services.start_soon(self._expire, told),
            deletes=options.unlink is Unlink.DELETE,
        )
        self._areas = Areas(self._filesystem, past if options.at is None else None)
        live = self._filesystem
        self._copier = Copier(
            self._namespace, store, live.by_path, mover, live.gate, live.flush_at, live.made
        )
        usage = UsageFile(directory, store.account.account_id)
        economize = self._filesystem.economize
        self._costs = Costs(store.ledger, usage, options.budget, economize, self._disk)
        await self._costs.open()
        if pruner is not None and not self._access.read_only:
            pruner.watch(self._areas.in_use)
        services.start_soon(self._costs.run)
        store.on_new_key(lambda: services.start_soon(self._go_on_with_new_key))
        services.start_soon(fetcher.run)
        services.start_soon(self._namespace.run)
        services.start_soon(self._index.run)
        services.start_soon(self._filesystem.run)
        if not self._access.read_only:
            count = await self._filesystem.recover()
            if count:
                log.info("%d files that an earlier mount had not sent are on their way", count)
            services.start_soon(self._send, mover)
            with trio.move_on_after(PATIENCE):  # what the kernel is told of names it may keep for long
                await self._replayed.wait()

    def _pruner(self, directory: Path) -> Pruner:
        own = OwnVersions.kept_in(directory / "versions.sqlite3", self._disk)
        return Pruner(self._store, own, self._options.keep_versions or 1)

    async def _send(self, mover: Mover) -> None:
        """Renames that an earlier mount began come first: uploads may bear the new names."""
        if await mover.has_begun():
            self._namespace.forget_listing(None)
            await mover.replay()
            self._namespace.forget_listing(None)  # what was seen meanwhile were names on the move
        self._replayed.set()
        self._services.start_soon(mover.run, self._names_changed)
        await self._write_back.run()

    def _answers(self) -> Answers:
        return Answers(
            self._options,
            self._access,
            self._filesystem,
            self._areas,
            self._namespace,
            self._cache,
            self._costs,
            self._copier,
            self._expire,
            lambda: lacking(self._store.account, self._options),
            self._troubles,
        )

    def _names_changed(self) -> None:
        """Not by the kernel's requests: whoever looks from now on is told what B2 has."""
        self._areas.bucket_changed()
        self._services.start_soon(self._expire, self._filesystem.by_path.refresh(""))

    async def _expire(self, told: Mapping[int, Sequence[str]]) -> None:
        await self._names.expire(told, within=self._namespace.lifetime.longest)

    async def _go_on_with_new_key(self) -> None:
        """And send what the old one could not send any more."""
        tell_of_new_key(self._store.account, self._options)
        with suppress(B2MountError, OSError):  # said in the log
            await self._write_back.flush()

    # -- run -------------------------------------------------------------------------------

    async def _serve(self) -> None:
        mountpoint = self._options.mountpoint
        try:
            observe = self._counts.observe if self._counts else None
            operations = Operations(self._areas, self._pages, observe)
            access, allow = self._access, self._options.allow_other
            flags = fuse_options(str(access.source), allow_other=allow, read_only=access.read_only)
            pyfuse3.init(operations, mountpoint, flags)
        except RuntimeError as error:
            raise MountPointUnusable(f"could not mount on {mountpoint}: {error}") from error
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(pyfuse3.main, max_tasks=FUSE_TASKS))
            # in the mount table it is already; it answers only when main() has met the kernel
            self._device = (await self._kernel.run(os.stat, mountpoint)).st_dev
            await self._kernel.run(tune_kernel, self._device)
            log.info("%s is mounted on %s", self._access.source, mountpoint)
            self._on_ready()
            self._manager.ready(f"{access.source} is mounted on {mountpoint}")

    async def _watch_signals(self) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            asked = 0
            async for number in signals:
                if number == signal.SIGHUP:
                    continue
                asked, name = asked + 1, signal.Signals(number).name
                if asked > 1:
                    log.info("%s again: what is unsent is left to the next mount", name)
                    self._leave()
                elif self._served:
                    log.info("%s: sending the rest; once more leaves it to the next mount", name)
                else:
                    log.info("%s: unmounting", name)
                    self._services.start_soon(self._unmount)

    def _leave(self) -> None:
        """`b2mount umount --now`."""
        self._draining.leave()
        self._services.start_soon(self._unmount)

    async def _unmount(self) -> None:
        """Take the mount point away. Programs that are still inside have a moment to close what
        they have open; then serving ends."""
        if self._served:
            return
        self._manager.stopping()
        self._draining.begin()  # what programs wait for in their calls may take its time to fail, too
        if await self._kernel.run(detach, self._options.mountpoint, self._device):
            await trio.sleep(LEAVING_TIME)
        if not self._served:
            pyfuse3.terminate()

    # -- end -------------------------------------------------------------------------------

    def _mended(self, version: ObjectVersion) -> None:
        """Blocks that came with wrong bytes were replaced: the kernel's pages of them must go."""
        for number in self._areas.numbers_of(version):
            self._pages.drop(number, self._services)
