"""Wakeups, and how they travel through an engine."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from ekb_async.backlog.store.postgres.sql.engine_sql import ENTRYPOINT

__all__ = ["ENTRYPOINT", "LOOKUPS_PER_WAKEUP", "Deferred", "PlannedWakeup", "Wakeup", "wakeup_of"]

LOOKUPS_PER_WAKEUP = 100
"""Calls that one wakeup is for if they share a request. A wakeup for a paid call is for one."""


class Wakeup(NamedTuple):
    """Time for a call of a kind for a tenant; `id` is the engine's own and the same each time it is handed out."""

    id: str
    tenant: str
    kind: str


class PlannedWakeup(NamedTuple):
    """A wakeup due at `slot`, in epoch seconds of the database's clock, `delay` seconds from now."""

    tenant: str
    kind: str
    slot: float
    delay: float

    @property
    def priority(self) -> int:
        """The earlier the slot, the higher: of all jobs that are due, engines take the highest first."""
        return -max(0, round((self.slot - _EPOCH) * _PER_SECOND))

    def payload(self) -> bytes:
        return msgspec.json.encode({"tenant": self.tenant, "kind": self.kind})


def wakeup_of(wakeup_id: str, payload: bytes | None) -> Wakeup:
    """Return the wakeup in a payload. Raises `ValueError` if there is none in it."""
    fields = msgspec.json.decode(payload or b"", type=dict[str, str])
    return Wakeup(wakeup_id, fields["tenant"], fields["kind"])


class Deferred(Exception):  # noqa: N818 - nothing went wrong
    """The wakeup is postponed: the engine has to hand it out again in `delay` seconds."""

    def __init__(self, delay: float, reason: str) -> None:
        super().__init__(reason)
        self.delay = delay


# Engines have 32 bits for a priority. Counted in quarters of a second, they last until 2043.
_EPOCH = 1_767_225_600.0  # 2026-01-01 UTC
_PER_SECOND = 4
