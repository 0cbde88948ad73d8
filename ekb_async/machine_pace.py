"""One pace for all processes of a user on this machine.

The vendor limits the enterprise, not the process. So the bucket of each call lies in a file (`ekb_async.pace_file`)
that all processes share, and a process that starts right after another has ended waits for the rest of its second.

The file's reads and writes happen in one thread of the home, in the order in which they were asked for. What a pacer is
told (a late start, a refusal) goes there without waiting, before the next claim. If such a note cannot be written, a
warning is logged and work goes on, for the vendor refuses one call at worst; the next claim meets the same trouble and
raises. Moments are the wall clock's, the one that processes have in common across restarts of the machine.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from ekb_async.errors import ConfigError
from ekb_async.pace_file import PaceFile, state_directory
from ekb_async.pacing import Bucket, Pacer, Slot, Tempo

P = ParamSpec("P")
T = TypeVar("T")

_log = logging.getLogger(__name__)

_LOOK_AGAIN = 0.25


class MachinePace:
    """The pace of all processes of this user on this machine: `EkbSession(…, pacer=MachinePace())`.

    Any number of sessions of one event loop may share it. `directory` is where its file lies, by default the
    environment's `EKB_STATE_DIR` or the user's state directory, made if it is missing. Nothing is opened before the
    first paced call, and nothing stays open after the last session is closed. Paced calls raise `ConfigError` if the
    file cannot be used. `clock` gives epoch seconds.
    """

    def __init__(self, directory: Path | str | None = None, *, clock: Callable[[], float] = time.time) -> None:
        if not (directory is None or isinstance(directory, Path | str)):
            raise ConfigError(f"directory must be a path, not {type(directory).__name__}")
        self._directory = state_directory() if directory is None else Path(directory)
        self._clock = clock
        self._pacers = 0
        self._worker: _Worker | None = None

    def __repr__(self) -> str:
        return f"<MachinePace in {self._directory}: {self._pacers} pacers>"

    def pacer(self, key: str, rate: float, guard: float, most_wait: float) -> Pacer:
        """A pacer on the bucket that all processes have under this key; rates in starts per second, times in seconds.

        It keeps the home open until it is closed.
        """
        self._pacers += 1
        return _MachinePacer(self, key, Tempo.of(rate, guard, most_wait), self._clock)

    def _submit(self, function: Callable[Concatenate[PaceFile, P], T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        if self._worker is None:
            self._worker = _Worker(self._directory)
        return self._worker.submit(function, *args, **kwargs)

    async def _release(self) -> None:
        self._pacers -= 1
        worker = self._worker
        if worker is None:
            return
        if self._pacers:
            await worker.idle()
        else:
            self._worker = None
            await worker.close()


class _Worker:
    """The thread of a home, with the file that is open in it."""

    def __init__(self, directory: Path) -> None:
        self._file = PaceFile(directory)
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ekb-pace")

    def submit(self, function: Callable[Concatenate[PaceFile, P], T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        return self._executor.submit(function, self._file, *args, **kwargs)

    async def idle(self) -> None:
        """Waits until all that was asked for so far is done."""
        await asyncio.wrap_future(self._executor.submit(lambda: None))

    async def close(self) -> None:
        closed = asyncio.wrap_future(self._executor.submit(self._file.close))
        try:
            await asyncio.shield(closed)
        finally:
            self._executor.shutdown()


class _Claim:
    """How far a claim has come; only the home's thread writes to it."""

    __slots__ = ("due", "slot", "ticket")

    def __init__(self) -> None:
        self.ticket: int | None = None
        self.slot: Slot | None = None
        self.due = 0.0


class _MachinePacer:
    """Slots of one bucket in the file. What it knows without asking is as of its last look."""

    def __init__(self, home: MachinePace, key: str, tempo: Tempo, clock: Callable[[], float]) -> None:
        self._home = home
        self._key = key
        self._tempo = tempo
        self._clock = clock
        self._seen = Bucket()
        self._claim: _Claim | None = None
        self._closed = False

    def __repr__(self) -> str:
        tempo = self._tempo
        return f"<MachinePacer: one start in {tempo.period:g} s + {self._seen.guard(tempo):g} s on this machine>"

    @property
    def interval(self) -> float:
        waiting = self._seen.issued - self._seen.served
        sharing = waiting if self._claim is not None else waiting + 1
        return self._seen.interval(self._tempo) * max(1, sharing)

    def wait(self) -> float:
        due = self._claim.due if self._claim is not None else self._seen.turn(self._seen.issued, self._tempo)
        return max(0.0, due - self._clock())

    def claim_open(self) -> None:
        """Nothing is taken without a look at the file."""

    async def claim(self) -> Slot:
        claim = self._claim = _Claim()
        try:
            while True:
                await asyncio.wrap_future(self._home._submit(self._advance, claim))
                if claim.slot is not None:
                    return claim.slot
                # A slot ahead may have been given back, or the guard have narrowed.
                most = max(_LOOK_AGAIN, self._seen.interval(self._tempo))
                await asyncio.sleep(min(most, claim.due - self._clock()))
        except asyncio.CancelledError:
            self._note(self._abandon, claim)
            raise
        finally:
            self._claim = None

    def started(self, slot: Slot) -> None:
        left = self._clock()
        if self._seen.late(slot, left, self._tempo):
            self._note(self._change, lambda bucket, _: bucket.start_late(left))

    def give_back(self, slot: Slot) -> None:
        self._note(self._change, lambda bucket, now: bucket.give_back(slot, now, self._tempo))

    def accepted(self, slot: Slot) -> None:
        if self._seen.widening:
            self._note(self._change, lambda bucket, _: bucket.accept(slot))

    def refused(self, slot: Slot, retry_after: float | None) -> None:
        came = self._clock()
        self._note(self._change, lambda bucket, _: bucket.refuse(slot, retry_after, came, self._tempo))

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await self._home._release()

    def _note(self, function: Callable[Concatenate[PaceFile, P], object], *args: P.args, **kwargs: P.kwargs) -> None:
        if not self._closed:
            self._home._submit(function, *args, **kwargs).add_done_callback(_report)

    # In the home's thread

    def _advance(self, file: PaceFile, claim: _Claim) -> None:
        """One look at the bucket: a ticket, if there is none yet, and the slot, if it is its turn."""

        def rule(bucket: Bucket, now: float) -> tuple[int, Slot | None]:
            ticket = bucket.queue(claim.ticket, self._tempo)
            return ticket, bucket.take_turn(ticket, now, self._tempo)

        ticket, slot = self._change(file, rule)
        claim.due = self._seen.turn(ticket, self._tempo)
        claim.ticket, claim.slot = ticket, slot

    def _abandon(self, file: PaceFile, claim: _Claim) -> None:
        slot, ticket = claim.slot, claim.ticket
        if slot is not None:
            self._change(file, lambda bucket, now: bucket.give_back(slot, now, self._tempo))
        elif ticket is not None:
            self._change(file, lambda bucket, _: bucket.leave(ticket))

    def _change(self, file: PaceFile, rule: Callable[[Bucket, float], T]) -> T:
        def changed(bucket: Bucket) -> tuple[T, Bucket]:
            now = self._clock()
            bucket.recall(now, self._tempo)
            return rule(bucket, now), bucket

        result, self._seen = file.change(self._key, changed)
        return result


def _report(note: Future[Any]) -> None:
    error = None if note.cancelled() else note.exception()
    if error is not None:
        _log.warning("a note on the pace was lost: %s", error)
