"""The work: the number of tenants of each size, and of calls for each of them."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple


class Access(enum.StrEnum):
    """Where the workers' access tokens come from."""

    GIVEN = enum.auto()
    """Each tenant has a token that is never renewed."""
    COLD = enum.auto()
    """Each tenant has app keys, and nothing has a token yet."""
    WARM = enum.auto()
    """Each tenant has app keys, and other processes have stored its token in the database."""


class Tenants(NamedTuple):
    """Tenants of one size."""

    size: str
    number: int
    calls: int


class Call(NamedTuple):
    """An invoice to be verified for a tenant."""

    tenant: str
    file_url: str


@dataclass(frozen=True)
class Load:
    """Tenants in the order in which their calls are enqueued, and the requests a second that each of them may make.

    A call takes `latency` seconds, and each worker has `places` for jobs. A contestant that is not done `limit` seconds
    after all calls were enqueued is stopped.
    """

    tenants: tuple[Tenants, ...]
    rate: float
    latency: float
    workers: int
    places: int
    limit: float

    def calls(self) -> Iterator[Call]:
        for size, number, calls in self.tenants:
            for tenant in (f"{size}-{n}" for n in range(number)):
                for n in range(calls):
                    yield Call(tenant, f"https://files.example.com/{tenant}/{n}.png")


def size_of(tenant: str) -> str:
    """Return the size of the tenant with this name."""
    return tenant.partition("-")[0]
