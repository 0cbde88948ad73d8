"""The vendor, in a process of its own: one sandbox for each tenant, which enforces its rate strictly.

Writes the address and the keys of each tenant as a line of JSON, and when its input ends, what it has received.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec

from benchmarks.trouble.load import Load
from ekb_async.sandbox import Fault, Sandbox

_LONGEST_LINE = 2**26
_PROGRAM = "from benchmarks.trouble.vendor import serve; serve()"

SECRET = "secret of the benchmark"  # noqa: S105 - of a sandbox


class Account(msgspec.Struct, frozen=True):
    """Where a tenant's calls go, its keys and its rate, as in a file of tenants."""

    base_url: str
    app_key: str
    app_security: str
    ocr_rate: float


class Received(msgspec.Struct, frozen=True):
    """The OCR requests of a tenant: how often each file was billed, when they began, and how many were refused."""

    billed: dict[str, int]
    starts: list[float]
    refused: int


EndOfVendor = Callable[[], Awaitable[dict[str, Received]]]
"""Ends the vendor, and returns what it has received, by tenant."""


@asynccontextmanager
async def running_vendor(load: Load) -> AsyncIterator[tuple[dict[str, Account], EndOfVendor]]:
    """Run the vendor; yield the accounts, and a function that ends it and returns what it has received."""
    figures = (load.rate, load.shortest, load.longest)
    command = (sys.executable, "-c", _PROGRAM, *map(str, figures), *load.names)
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, limit=_LONGEST_LINE)
    stdin, stdout = process.stdin, process.stdout
    if stdin is None or stdout is None:
        raise RuntimeError("the vendor has no pipes")
    try:
        accounts = msgspec.json.decode(await stdout.readline(), type=dict[str, Account])

        async def received() -> dict[str, Received]:
            stdin.close()
            return msgspec.json.decode(await stdout.readline(), type=dict[str, Received])

        yield accounts, received
    finally:
        stdin.close()
        await process.wait()


def serve() -> None:
    """Be the vendor's process."""
    rate, shortest, longest, *names = sys.argv[1:]
    asyncio.run(_serve(float(rate), float(shortest), float(longest), *names))


async def _serve(rate: float, shortest: float, longest: float, *names: str) -> None:
    # A third of the calls each takes the shortest time, the longest, and the one in between.
    more = longest - shortest
    delays = [Fault.delay(more, calls="ocr", rate=1 / 3), Fault.delay(more / 2, calls="ocr", rate=1 / 2)]
    async with AsyncExitStack() as stack:
        boxes = {
            name: await stack.enter_async_context(
                Sandbox(ocr_rate=rate, latency=shortest, faults=delays, app_key=name, app_security=SECRET)
            )
            for name in names
        }
        _write({name: Account(box.base_url, name, SECRET, rate) for name, box in boxes.items()})
        await asyncio.to_thread(sys.stdin.buffer.read)
        _write({name: _received(box) for name, box in boxes.items()})


def _received(box: Sandbox) -> Received:
    refused = sum(entry.call == "ocr" and not entry.accepted for entry in box.log)
    return Received(dict(box.vendor.billed["ocr"]), box.starts("ocr"), refused)


def _write(value: object) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(value) + b"\n")
    sys.stdout.flush()
