"""Turns, and how they travel through an engine."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

ENTRYPOINT = "ekb_turn"
"""What engines know turns by."""

LOOKUPS_AT_ONCE = 100
"""Calls that a turn is for if they share requests; a turn for a paid call is for one."""


class Wakeup(NamedTuple):
    """Time for a call of a kind for a tenant; `id` is the engine's own, and the same whenever it is handed out."""

    id: str
    tenant: str
    kind: str


class PlannedWakeup(NamedTuple):
    """A turn that an engine is to hand out at `slot`, epoch seconds on the database's clock, `delay` seconds ahead."""

    tenant: str
    kind: str
    slot: float
    delay: float

    @property
    def priority(self) -> int:
        """The earlier the slot, the higher: engines take the highest first among all that are due."""
        return -max(0, round((self.slot - _EPOCH) * _PER_SECOND))

    def payload(self) -> bytes:
        return msgspec.json.encode({"tenant": self.tenant, "kind": self.kind})


def wakeup_of(wakeup_id: str, payload: bytes | None) -> Wakeup:
    """The turn that an engine hands out. Raises `ValueError` if it is none."""
    fields = msgspec.json.decode(payload or b"", type=dict[str, str])
    return Wakeup(wakeup_id, fields["tenant"], fields["kind"])


class Deferred(Exception):  # noqa: N818 - it says that nothing went wrong
    """A turn goes back to the engine, to be handed out again in `delay` seconds."""

    def __init__(self, delay: float, reason: str) -> None:
        super().__init__(reason)
        self.delay = delay


# Engines have 32 bits for a priority, which in quarters of a second last until 2043.
_EPOCH = 1_767_225_600.0  # 2026-01-01 UTC
_PER_SECOND = 4
