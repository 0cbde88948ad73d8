"""The work, and the trouble that strikes while it is done."""

from __future__ import annotations

import enum
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

SECONDS, TROUBLES, ENGINES = "EKB_BENCHMARK_SECONDS", "EKB_BENCHMARK_TROUBLES", "EKB_BENCHMARK_ENGINES"
"""The variables that choose a part of the benchmark, for its processes as well."""

GUARD = 0.01
"""Seconds that the package adds to the vendor's interval."""

_CALM_CALLS = 8


class Trouble(enum.StrEnum):
    """What happens again and again while the slots are counted."""

    NONE = "none"
    KILL = "kill"
    STOP = "stop"
    ROLLING = "rolling"
    DATABASE = "database"
    CUTS = "cuts"


class Call(NamedTuple):
    """An image to be recognised for a tenant."""

    tenant: str
    file_url: str


@dataclass(frozen=True)
class Load:
    """Tenants with more calls than slots: the vendor allows each `rate` starts a second from all workers together.

    A call takes `shortest` to `longest` seconds. Slots are counted for `seconds` after the first call.
    """

    trouble: Trouble
    seconds: float
    rate: float = 1.0
    tenants: int = 4
    workers: int = 2
    shortest: float = 1.0
    longest: float = 3.0
    limit: float = 300.0
    """How long the calls that are left may take in the calm afterwards."""

    @property
    def names(self) -> list[str]:
        return [f"tenant-{number}" for number in range(self.tenants)]

    @property
    def slots(self) -> int:
        """The starts that are possible while they are counted, of all tenants together."""
        return self.tenants * (1 + int(self.seconds / (1 / self.rate + GUARD)))

    def calls(self) -> Iterator[Call]:
        each = self.slots // self.tenants + _CALM_CALLS
        for number in range(each):
            for tenant in self.names:
                yield Call(tenant, f"https://files.example.com/{tenant}/{number}.png")


def seconds() -> float:
    """Return how long the slots are counted."""
    return float(os.environ.get(SECONDS) or 90)
