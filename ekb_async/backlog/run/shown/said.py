"""What a run says of itself in the backlog, so that other programs can show it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from ekb_async.backlog.run.shown.tenants import AutoPause, GivenUp, TenantState, distinct, states_of
from ekb_async.backlog.run.shown.waits import Wait
from ekb_async.backlog.store.values.reports import Pause


class Said(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The starts per second that a run may make, by kind of billed call, what its calls wait for, and for which tenants
    it makes none."""

    allowed: dict[str, float] = {}
    waits: tuple[Wait, ...] = ()
    paused: tuple[AutoPause, ...] = ()
    given_up: tuple[GivenUp, ...] = ()

    def encode(self) -> str:
        """Return the text that the backlog keeps."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def decode(cls, text: str) -> Said:
        """Return what a text says; nothing if it is empty, or of a version that says it in another way."""
        try:
            return msgspec.json.decode(text, type=cls) if text else cls()
        except msgspec.DecodeError:
            return cls()


def states_in(held: Mapping[str, int], pauses: Iterable[Pause], said: Iterable[str]) -> list[TenantState]:
    """Return the states of tenants, given the held rows by tenant, the pauses of persons, and what runs say."""
    runs = [Said.decode(text) for text in said]
    paused = distinct(pause for each in runs for pause in each.paused)
    return states_of(held, pauses, paused, (given_up for each in runs for given_up in each.given_up))
