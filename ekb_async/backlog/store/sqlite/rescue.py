"""Answers that were paid for, kept outside a backlog file that was removed or replaced while a run was at work."""

from __future__ import annotations

import contextlib
import secrets
import tempfile
from collections import deque
from collections.abc import Iterable
from pathlib import Path

import msgspec

from ekb_async.backlog.input.manifest import PAID
from ekb_async.backlog.store.answers import keep
from ekb_async.backlog.store.call_store import Call, CallResult
from ekb_async.errors import ConfigError
from ekb_async.storage.atomic_files import write_whole

_MOST_BYTES = 32_000_000
"""How much of answers is remembered; nothing of a log comes into the file as long as another program reads it."""


class _Line(msgspec.Struct, omit_defaults=True):
    kind: str
    identity: str
    result: msgspec.Raw
    file: str = ""
    invoice_id: str = ""
    staff_id: str = ""
    tenant: str = ""


class Rescue:
    """The answers to the calls that were claimed here, as long as they are not known to be in the file proper."""

    def __init__(self) -> None:
        self._calls: dict[int, tuple[str, Call]] = {}
        self._lately: deque[tuple[int, _Line]] = deque()
        self._bytes = 0
        self._in_file = 0
        self._forgotten = 0

    def claimed(self, tenant: str, calls: Iterable[Call]) -> None:
        """Remember what is asked."""
        self._calls.update((call.id, (tenant, call)) for call in calls)

    def ended(self, endings: Iterable[CallResult], change: int) -> None:
        """Remember the answers that a transaction of this number writes, or would have written."""
        for ending in endings:
            tenant, call = self._calls.pop(ending.call_id, ("", None))
            if call is not None and call.kind in PAID and ending.answer is not None:
                result = msgspec.Raw(keep(ending.answer))
                line = _Line(call.kind, call.identity, result, call.file, call.invoice_id, call.staff_id, tenant)
                self._lately.append((change, line))
                self._bytes += len(result)
        while self._bytes > _MOST_BYTES:
            self._forget()
            self._forgotten += 1

    def settled(self, change: int) -> None:
        """Forget what is in the file proper, which it is up to a transaction."""
        while self._lately and self._lately[0][0] <= change:
            self._forget()
            self._in_file += self._forgotten + 1
            self._forgotten = 0

    def _forget(self) -> None:
        _, line = self._lately.popleft()
        self._bytes -= len(line.result)

    def keep(self, backlog: Path, *, file_is_lost: bool) -> list[str]:
        """Write what is remembered beside the backlog, or else where temporary files go; sentences that say so."""
        said = []
        if self._lately:
            lines = b"".join(msgspec.json.encode(line) + b"\n" for _, line in self._lately)
            for folder in (backlog.parent, Path(tempfile.gettempdir())):
                path = folder / f"ekb-answers-{secrets.token_hex(4)}.jsonl"
                with contextlib.suppress(ConfigError):
                    write_whole(path, lines)
                    said.append(f"The answers to {len(self._lately):,} billed calls that came last are in {path}.")
                    break
        before = self._forgotten + (self._in_file if file_is_lost else 0)
        if before:
            said.append(f"The answers to {before:,} billed calls before them were in the backlog that is gone.")
        self._lately.clear()
        self._bytes = 0
        return said
