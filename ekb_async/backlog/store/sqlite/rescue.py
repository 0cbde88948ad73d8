"""Saving paid answers when a backlog file is removed or replaced during a run."""

from __future__ import annotations

import contextlib
import secrets
import tempfile
from collections import deque
from collections.abc import Iterable
from pathlib import Path

import msgspec

from ekb_async.backlog.input.rows.kinds import PAID
from ekb_async.backlog.store.limits import LIMITS
from ekb_async.backlog.store.values.calls import Call, Recorded
from ekb_async.errors import ConfigError
from ekb_async.storage.atomic_files import write_whole


class _Line(msgspec.Struct, omit_defaults=True):
    """A line of the file of saved answers."""

    kind: str
    identity: str
    result: msgspec.Raw
    file: str = ""
    invoice_id: str = ""
    staff_id: str = ""
    tenant: str = ""


class Rescue:
    """Paid answers to the calls of this process that are not yet known to be in the database file itself."""

    def __init__(self) -> None:
        self._calls: dict[int, tuple[str, Call]] = {}
        self._answers: deque[tuple[int, _Line]] = deque()
        self._bytes = 0
        self._in_file = 0
        self._dropped = 0

    def claimed(self, tenant: str, calls: Iterable[Call]) -> None:
        """Remember claimed calls that are billed, which are saved with their answers."""
        self._calls.update((call.id, (tenant, call)) for call in calls if call.kind in PAID)

    def ended(self, records: Iterable[Recorded], change: int) -> None:
        """Remember the answers that transaction number `change` has written, or would have written."""
        for record in records:
            tenant, call = self._calls.pop(record.call_id, ("", None))
            if call is not None and record.result is not None:
                answer = msgspec.Raw(record.result)
                line = _Line(call.kind, call.identity, answer, call.file, call.invoice_id, call.staff_id, tenant)
                self._answers.append((change, line))
                self._bytes += len(answer)
        while self._bytes > LIMITS.max_rescued_bytes:
            self._drop_oldest()
            self._dropped += 1

    def settled(self, change: int) -> None:
        """Forget the answers of all transactions up to number `change`, which are in the database file itself."""
        while self._answers and self._answers[0][0] <= change:
            self._drop_oldest()
            self._in_file += self._dropped + 1
            self._dropped = 0

    def _drop_oldest(self) -> None:
        _, line = self._answers.popleft()
        self._bytes -= len(line.result)

    def keep(self, backlog: Path, *, file_is_lost: bool) -> list[str]:
        """Write the answers beside the backlog, or else into the temporary directory, and return sentences about it."""
        notes = []
        if self._answers:
            lines = b"".join(msgspec.json.encode(line) + b"\n" for _, line in self._answers)
            for folder in (backlog.parent, Path(tempfile.gettempdir())):
                path = folder / f"ekb-answers-{secrets.token_hex(4)}.jsonl"
                with contextlib.suppress(ConfigError):
                    write_whole(path, lines)
                    notes.append(f"The answers to {len(self._answers):,} billed calls that came last are in {path}.")
                    break
        before = self._dropped + (self._in_file if file_is_lost else 0)
        if before:
            notes.append(f"The answers to {before:,} billed calls before them were in the backlog that is gone.")
        self._answers.clear()
        self._bytes = 0
        return notes
