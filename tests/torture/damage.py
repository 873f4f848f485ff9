"""Has troubles befall the two machines and B2, one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import attrs

from b2mount.emulator.faults import Fault, FaultKind
from b2mount.emulator.server import EmulatorServer
from tests.torture.machine import Machine
from tests.torture.plan import Event, Kind, Round
from tests.torture.trouble import LATEST, damage, storm, troubles

GLANCE: Final = 0.1


@attrs.define(eq=False)
class Damage:
    """Of one round."""

    server: EmulatorServer
    machines: Sequence[Machine]
    plan: Round
    failed_requests: int = 0
    kills: int = 0

    def run(self) -> None:
        """All events of the round; there is no event's trouble any more when this returns."""
        for event in self.plan.events:
            time.sleep(event.after)
            self._befall(event)

    @contextmanager
    def always(self) -> Iterator[None]:
        """Inside, the round's share of all requests fails."""
        self._have_fail(())
        try:
            yield
        finally:
            self._count()
            self.server.faults.clear()

    def _befall(self, event: Event) -> None:
        machine = self.machines[event.mount]
        match event.kind:
            case Kind.KILL:
                machine.mount.kill()
            case Kind.FULL_DISK:
                self._last(event, lambda: machine.fill(int(event.size)))
            case Kind.CUT | Kind.SILENCE | Kind.STORM:
                self._have_fail(self._rules(event))
                self._last(event)
                self._have_fail(())
            case Kind.TOKENS:
                self.server.expire_tokens()
            case Kind.CLOCK:
                machine.set_clock(event.size)
            case Kind.SLEEP:
                machine.sleep(event.size)
            case Kind.LATER:
                self.server.run(lambda: self.server.state.clock.advance(int(event.size * 1000)))
        if event.kills:
            self._live_again(machine, event.lives)
        machine.free()  # only now: a mount can begin on a full disk

    def _last(self, event: Event, again: Callable[[], None] = lambda: None) -> None:
        """Until the event's time is up, or the mount has died in the middle of it."""
        end = time.monotonic() + event.seconds * (0.5 if event.kills else 1)
        while time.monotonic() < end:
            again()
            time.sleep(GLANCE)
        if event.kills:
            self.machines[event.mount].mount.kill()

    def _live_again(self, machine: Machine, lives: Sequence[float]) -> None:
        for seconds in lives:
            self._start(machine)
            time.sleep(seconds)
            machine.mount.kill()
        self._start(machine)

    def _start(self, machine: Machine) -> None:
        time.sleep(LATEST)  # B2 may do what the dead one had asked for after what the next one asks for
        machine.mount.start()
        self.kills += 1

    def _rules(self, event: Event) -> list[Fault]:
        match event.kind:
            case Kind.CUT:
                return [Fault(FaultKind.DROP_BEFORE)]
            case Kind.SILENCE:
                return [Fault(FaultKind.SILENCE, seconds=event.seconds)]
            case _:
                return storm(self.plan.seed)

    def _have_fail(self, first: Sequence[Fault]) -> None:
        """What matches `first` as that says, of the rest the share that always does."""
        self._count()
        seed, share = self.plan.seed, self.plan.share
        always = [*troubles(seed, share, wrong_bytes=False), *damage(seed, share)] if share else []
        self.server.faults.replace([*first, *always])

    def _count(self) -> None:
        self.failed_requests += sum(hits for _, hits in self.server.faults.report())
