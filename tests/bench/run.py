"""One run: every workload on every peer, against one emulator."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import attrs

from tests.bench.emulator import Emulator
from tests.bench.library import Library
from tests.bench.measure import Result
from tests.bench.peers import Peer
from tests.bench.stage import Stage, Workload


@attrs.define(eq=False)
class Run:
    """Buckets, and stages on them. Whatever a stage leaves is gone before the next."""

    emulator: Emulator
    library: Library
    folder: Path
    _shared: set[str] = attrs.field(factory=set)
    _number: int = 0

    def play(self, workload: Workload, peer: Peer) -> Mapping[str, Result]:
        """The workload's rows for this peer."""
        self._number += 1
        folder = self.folder / f"stage-{self._number}"
        folder.mkdir()
        bucket = self._bucket(workload)
        old = frozenset(stored.version_id for stored in self.emulator.listing(bucket).values())
        try:
            with self.emulator.shaped():
                return workload.play(Stage(peer, self.emulator, self.library, bucket, folder, old))
        finally:
            shutil.rmtree(folder)
            if bucket not in self._shared:
                self.emulator.remove_bucket(bucket)

    def _bucket(self, workload: Workload) -> str:
        """A filled bucket's name. Workloads that only read share one with the next peer."""
        if workload.reads_only:
            name = f"bench-{workload.name}"
            if name in self._shared:
                return name
            self._shared.add(name)
        else:
            name = f"bench-{workload.name}-{self._number}"
        self.emulator.create_bucket(name, workload.files)
        return name
