"""Streams: any number of inputs, a bounded number of them held."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from ekb_async import (
    ConfigError,
    EkbSession,
    OcrResult,
    Outcome,
    PermissionDeniedError,
    ProviderError,
    SessionClosedError,
)
from ekb_async.models import InvoiceFile
from ekb_async.sandbox import Fault, Sandbox
from tests.conftest import session_on


def url(name: object) -> str:
    return f"https://files.example/{name}.png"


@pytest.mark.slow
async def test_any_number_of_inputs_with_few_held(ekb: EkbSession) -> None:
    """A stream reads at most 201 inputs ahead of its consumer."""
    taken = 0

    def files() -> Iterator[str]:
        nonlocal taken
        for n in range(2000):
            taken += 1
            yield url(n)

    seen = 0
    async for outcome in ekb.ocr_many(files()):
        seen += 1
        assert outcome.result is not None
        assert taken - seen <= 201
    assert seen == taken == 2000


async def test_asynchronous_inputs_do_not_hold_back_outcomes(ekb: EkbSession) -> None:
    """Outcomes are yielded as soon as they exist, even while the input has nothing to give."""
    more = asyncio.Event()

    async def files() -> AsyncIterator[str]:
        yield url(1)
        await more.wait()
        yield url(2)

    stream = ekb.verify_many(files(), staff_id="c:s")
    assert (await anext(stream)).input == url(1)
    more.set()
    assert [outcome.input async for outcome in stream] == [url(2)]


async def test_failures_are_outcomes(ekb: EkbSession, quick_box: Sandbox) -> None:
    """A file that fails or is not a file is an outcome with its error; the others go on."""
    bad = quick_box.vendor.add_file(b"no image", "a.txt")
    outcomes = [outcome async for outcome in ekb.ocr_many([url(1), bad, "no url", url(2)])]
    errors = {str(outcome.input): type(outcome.error).__name__ for outcome in outcomes if outcome.error}
    assert errors == {str(bad): "ProviderError", "no url": "ConfigError"}
    assert len(outcomes) == 4
    assert any(isinstance(outcome.error, ProviderError) for outcome in outcomes)


async def test_a_stream_without_permission_sends_little() -> None:
    """Without permission all inputs get the error, though only a few calls were sent."""
    async with Sandbox(verify_rate=0, permissions={"ocr"}) as box, session_on(box) as ekb:
        outcomes = [outcome async for outcome in ekb.verify_many((url(n) for n in range(10_000)), staff_id="c:s")]
        assert len(outcomes) == 10_000
        assert all(isinstance(outcome.error, PermissionDeniedError) for outcome in outcomes)
        assert box.count("verify") <= 30


@pytest.mark.slow
async def test_one_rejected_file_is_not_all_of_them() -> None:
    """If only one file's call is rejected with 401, only that file fails."""
    async with Sandbox(ocr_rate=0, latency=0.01) as box, session_on(box, max_running=1) as ekb:
        box.faults.append(Fault.answer(401, "请先登录", calls="ocr", times=2))
        outcomes = [outcome async for outcome in ekb.ocr_many(url(n) for n in range(300))]
        assert sum(outcome.error is not None for outcome in outcomes) == 1
        assert len(outcomes) == 300


async def test_breaking_off_leaves_the_queue() -> None:
    """Closing a stream removes its queued jobs from the queue."""
    async with Sandbox() as box, session_on(box, ocr_rate=1.0) as ekb:
        stream = ekb.ocr_many(url(n) for n in range(1000))
        assert (await anext(stream)).result
        await stream.aclose()
        assert ekb.stats().ocr.queued == 0
        assert box.count("ocr") == 1


async def test_an_input_that_fails(ekb: EkbSession) -> None:
    """An exception of the input is raised after the outcomes of all inputs before it."""

    def files() -> Iterator[str]:
        yield url(1)
        yield url(2)
        raise OSError("the list cannot be read")

    stream = ekb.ocr_many(files())
    seen = [(await anext(stream)).input, (await anext(stream)).input]
    with pytest.raises(OSError, match="list"):
        await anext(stream)
    assert set(seen) == {url(1), url(2)}


async def test_a_stream_waits_for_room() -> None:
    """A full queue is no error for a stream; it waits."""
    async with Sandbox(ocr_rate=0) as box, session_on(box, queue_size=3) as ekb:
        assert len([outcome async for outcome in ekb.ocr_many(url(n) for n in range(100))]) == 100


async def test_closing_the_session_ends_a_stream() -> None:
    """If the session is closed, every accepted input gets `SessionClosedError`, and then the stream raises it."""
    async with Sandbox(latency=0.05) as box:
        async with session_on(box, ocr_rate=1.0) as ekb:
            stream = ekb.ocr_many(url(n) for n in range(1000))
            assert (await anext(stream)).result
        assert isinstance((await anext(stream)).error, SessionClosedError)
        with pytest.raises(SessionClosedError):
            await drained(stream)


async def drained(stream: AsyncIterator[Outcome[InvoiceFile, OcrResult]]) -> None:
    async for outcome in stream:
        assert isinstance(outcome.error, SessionClosedError)


@pytest.mark.parametrize("files", ["https://files.example/a.png", b"x", 7, None, Path("a.png")])
async def test_one_file_is_not_many(ekb: EkbSession, files: object) -> None:
    """A single file is not iterated by its letters; it raises `ConfigError` naming `files` before anything is sent."""
    with pytest.raises(ConfigError, match="files"):
        ekb.ocr_many(files)  # type: ignore[call-overload]


async def test_empty_inputs(ekb: EkbSession) -> None:
    """A stream without inputs yields no outcomes."""
    files: list[str] = []
    assert [outcome async for outcome in ekb.ocr_many(files)] == []
