"""A backlog served as `ekb backlog serve` does it, in this process, and what a browser gets from it."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import aiohttp

from ekb_async.cli.backlog.results.serving import serve
from tests.support.waiting import until


class Answer(NamedTuple):
    """What a server answered."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def live(self) -> str:
        """The texts at the top of a page that say how the work stands."""
        found = re.search(r'<div class="live".*?</div>', self.text, re.DOTALL)
        assert found is not None
        return " ".join(re.sub(r"<[^>]*>", " ", found[0]).split())

    @property
    def rows_done(self) -> int:
        """The number of rows that are done, as the figures of the page have it."""
        found = re.search(r"<dt>Rows done</dt><dd>([\d,]+)<", self.text)
        return int(found[1].replace(",", "")) if found else 0


class Served:
    """A page that is being served."""

    def __init__(self, port: int, client: aiohttp.ClientSession) -> None:
        self.port = port
        self._client = client

    async def ask(self, path: str = "/", method: str = "GET", **headers: str) -> Answer:
        """Return the answer to a request with these headers; `_` in their names stands for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self._client.request(method, f"http://127.0.0.1:{self.port}{path}", headers=named) as response:
            return Answer(response.status, response.headers, await response.text())

    async def until(self, holds: Callable[[Answer], bool]) -> Answer:
        """Ask until the page is as expected, and return it."""
        answers: list[Answer] = []

        async def asked() -> bool:
            answers[:] = [await self.ask()]
            return holds(answers[0])

        await until(asked)
        return answers[0]


@asynccontextmanager
async def served(place: Path | str, title: str | None = None) -> AsyncIterator[Served]:
    """Serve a backlog for the duration of an `async with` block."""
    port = _free_port()
    serving = asyncio.create_task(serve(str(place), port, title))
    try:
        async with aiohttp.ClientSession() as client:
            page = Served(port, client)
            await until(lambda: _listens(page, serving))
            yield page
    finally:
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving


async def _listens(page: Served, serving: Awaitable[object]) -> bool:
    if isinstance(serving, asyncio.Task) and serving.done():
        serving.result()
    with suppress(aiohttp.ClientConnectionError):
        return (await page.ask()).status == 200
    return False


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
