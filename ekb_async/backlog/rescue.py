"""Answers that were paid for, kept outside a backlog file that was removed or replaced while a run was at work."""

from __future__ import annotations

import contextlib
import secrets
import tempfile
from collections import deque
from collections.abc import Iterable
from pathlib import Path

import msgspec

from ekb_async.backlog.answers import keep
from ekb_async.backlog.call_store import Call, Ending
from ekb_async.backlog.manifest import PAID
from ekb_async.backlog.whole_file import write_whole
from ekb_async.errors import ConfigError

_MOST = 10_000
"""How many are remembered; a log from which nothing comes into the file has other trouble."""


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
        self._lately: deque[tuple[int, _Line]] = deque(maxlen=_MOST)
        self._in_file = 0

    def claimed(self, tenant: str, calls: Iterable[Call]) -> None:
        """Remember what is asked."""
        self._calls.update((call.id, (tenant, call)) for call in calls)

    def ended(self, endings: Iterable[Ending], change: int) -> None:
        """Remember the answers that a transaction of this number writes, or would have written."""
        for ending in endings:
            tenant, call = self._calls.pop(ending.call_id, ("", None))
            if call is not None and call.kind in PAID and ending.answer is not None:
                result = msgspec.Raw(keep(ending.answer))
                line = _Line(call.kind, call.identity, result, call.file, call.invoice_id, call.staff_id, tenant)
                self._lately.append((change, line))

    def settled(self, change: int) -> None:
        """Forget what is in the file proper, which it is up to a transaction."""
        while self._lately and self._lately[0][0] <= change:
            self._lately.popleft()
            self._in_file += 1

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
        if file_is_lost and self._in_file:
            said.append(f"The answers to {self._in_file:,} billed calls before them were in the backlog that is gone.")
        self._lately.clear()
        return said
