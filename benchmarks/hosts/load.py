"""What is to be done: so many tenants of each size, each with so many calls."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple


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

    A call takes `latency` seconds, each of the workers has room for so many `turns` at a time, and who is not done
    `limit` seconds after all were enqueued is stopped.
    """

    tenants: tuple[Tenants, ...]
    rate: float
    latency: float
    workers: int
    turns: int
    limit: float

    def calls(self) -> Iterator[Call]:
        for size, number, calls in self.tenants:
            for tenant in (f"{size}-{n}" for n in range(number)):
                for n in range(calls):
                    yield Call(tenant, f"https://files.example.com/{tenant}/{n}.png")


def size_of(tenant: str) -> str:
    """The size of the tenant with this name."""
    return tenant.partition("-")[0]
