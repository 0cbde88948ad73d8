"""Queued calls: their order, limits on waiting, cancelling, refusals, failures and closing."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from ekb_async import (
    AppCredentials,
    ConfigError,
    EkbConnectionError,
    EkbSession,
    EkbTimeoutError,
    OutcomeUnknownError,
    Priority,
    ProviderError,
    QueueFullError,
    QueueTimeoutError,
    RecognitionError,
    SessionClosedError,
    SessionConfig,
    StaticToken,
)
from ekb_async.sandbox import Fault, Sandbox
from ekb_async.sandbox.vendor.vendor import Vendor
from ekb_async.simulation import InMemoryTransport, VirtualTimeLoop
from tests.conftest import session_on


def url(name: object) -> str:
    return f"https://files.example/{name}.png"


def order_of_arrival(box: Sandbox) -> list[str]:
    """Return the names of the files in the order in which their calls arrived."""
    return [entry.body.split("files.example/")[1].split(".png")[0] for entry in box.log if entry.call == "ocr"]


async def test_priorities_and_age() -> None:
    """Jobs are sent by priority, and within one priority in the order of their submission."""
    async with Sandbox(ocr_rate=0) as box, session_on(box, ocr_rate=20) as ekb:
        jobs = [ekb.submit_ocr(url("first"))]
        await box.arrived("ocr")
        for name, priority in [("b1", Priority.BULK), ("n1", Priority.NORMAL), ("b2", Priority.BULK)]:
            jobs.append(ekb.submit_ocr(url(name), priority=priority))
        for name, priority in [("h1", Priority.HIGH), ("n2", Priority.NORMAL), ("h2", Priority.HIGH)]:
            jobs.append(ekb.submit_ocr(url(name), priority=priority))
        assert [job.position for job in jobs[1:]] == [4, 2, 5, 0, 3, 1]
        await asyncio.gather(*jobs)
        assert order_of_arrival(box) == ["first", "h1", "h2", "n1", "n2", "b1", "b2"]


def test_waiting_limits() -> None:
    """A call that cannot be sent in time is refused at once; one that gets no slot in time is never sent."""
    vendor = Vendor()
    transport = InMemoryTransport(vendor, latency=1.0)
    keys = AppCredentials(app_key=vendor.rules.app_key, app_security=vendor.rules.app_security)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with EkbSession(keys, transport=transport) as ekb:
            ahead = [ekb.submit_ocr(url(n)) for n in range(10)]
            began = loop.time()
            with pytest.raises(QueueTimeoutError) as hopeless:
                await ekb.ocr(url("late"), max_wait=5.0)
            assert loop.time() == began
            assert hopeless.value.position == 10
            assert 9.0 <= hopeless.value.eta <= 11.0
            assert not hopeless.value.sent
            assert await ekb.ocr(url("urgent"), priority=Priority.HIGH, max_wait=5.0)

            patient = ekb.submit_ocr(url("patient"), priority=Priority.BULK, max_wait=15.0)
            overtaken = [ekb.submit_ocr(url(f"x{n}")) for n in range(20)]
            with pytest.raises(QueueTimeoutError) as overdue:
                await patient
            assert 15.0 <= loop.time() - began <= 17.5
            assert overdue.value.position > 0
            for job in [*ahead, *overtaken]:
                await job

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(main())
    assert vendor.billed["ocr"].total() == 31
    assert not any("late" in content or "patient" in content for content in vendor.billed["ocr"])


async def test_time_limit_of_an_attempt() -> None:
    """`timeout` limits the attempt on the network, and its error has `sent` set if the call was sent."""
    async with Sandbox(latency=5.0, ocr_rate=0) as box, session_on(box, max_tries=1) as ekb:
        with pytest.raises(EkbTimeoutError) as caught:
            await ekb.ocr(url(1), timeout=0.05)
        assert caught.value.sent
        assert caught.value.attempts == 1
        assert box.count("ocr") == 1


@pytest.mark.slow
async def test_no_connection_is_known_not_to_have_cost_anything() -> None:
    """A refused connection is retried even with `repeat_unknown=False`, and its error is not `sent`."""
    config = SessionConfig(repeat_unknown=False, max_backoff=0.01, max_tries=3)
    async with EkbSession(StaticToken("ID01:t"), base_url="http://127.0.0.1:1", config=config) as ekb:
        with pytest.raises(EkbConnectionError) as caught:
            await ekb.ocr(url(1))
        assert not caught.value.sent
        assert caught.value.attempts == 3


@pytest.mark.parametrize(
    "fault",
    [
        Fault.lost_answer(calls="ocr"),
        Fault.cut_off(calls="ocr"),
        Fault.not_json(calls="ocr"),
        Fault.answer(504, calls="ocr"),
    ],
)
async def test_a_lost_answer_is_a_decision(fault: Fault) -> None:
    """A billed call whose answer was lost is repeated, and counted, unless `repeat_unknown` is False."""
    async with Sandbox(ocr_rate=0, faults=[fault]) as box:
        async with session_on(box, repeat_unknown=False) as ekb:
            with pytest.raises(OutcomeUnknownError):
                await ekb.ocr(url(1))
            assert box.count("ocr") == 1
            assert ekb.stats().ocr.maybe_billed == 0
        async with session_on(box, max_tries=3) as ekb:
            job = ekb.submit_ocr(url(2))
            await box.arrived("ocr", 3)
            box.faults.clear()
            assert await job
            assert ekb.stats().ocr.maybe_billed == 2


async def test_a_lost_token_is_no_lost_call() -> None:
    """If the token cannot be fetched, the call is reported as not sent, even if the token call was sent."""
    faults = [Fault.lost_answer(calls="token")]
    async with Sandbox(faults=faults) as box, session_on(box, repeat_unknown=False, max_tries=2) as ekb:
        with pytest.raises(EkbConnectionError) as caught:
            await ekb.ocr(url(1))
        assert not caught.value.sent
        assert box.count("ocr") == 0
        assert box.count("token") == 2


async def test_a_cancelled_consumer_strands_no_job() -> None:
    """If a program cancels the consumer task, queued jobs fail and the session still works."""
    async with Sandbox(latency=0.1, ocr_rate=0) as box, session_on(box, ocr_rate=1.0) as ekb:
        first = ekb.submit_ocr(url(1))
        await box.arrived("ocr")
        queued = ekb.submit_ocr(url(2))
        for task in asyncio.all_tasks():
            if task.get_name().startswith("ekb queue"):
                task.cancel()
        with pytest.raises(SessionClosedError):
            await queued
        assert await first
        assert await ekb.ocr(url(3))


def test_a_session_belongs_to_its_loop() -> None:
    """Using a session in a second event loop raises `ConfigError` instead of hanging."""
    vendor = Vendor()
    keys = AppCredentials(app_key=vendor.rules.app_key, app_security=vendor.rules.app_security)
    ekb = EkbSession(keys, transport=InMemoryTransport(vendor))

    async def call() -> None:
        await ekb.ocr(url(1))

    asyncio.run(call())
    with pytest.raises(ConfigError, match="loop"):
        asyncio.run(call())


async def test_free_calls_are_simply_repeated() -> None:
    """A free call whose answer was lost is repeated even with `repeat_unknown=False`."""
    async with (
        Sandbox(faults=[Fault.lost_answer(calls="invoice_url", times=2)]) as box,
        session_on(box, repeat_unknown=False) as ekb,
    ):
        assert (await ekb.invoice_url("c:1:1")).id == "c:1:1"
        assert box.count("invoice_url") == 3


async def test_what_cannot_go_well_is_not_repeated(ekb: EkbSession, quick_box: Sandbox) -> None:
    """识别失败 for a URL given by the caller is final; an error of the provider is tried three times in all."""
    file = quick_box.vendor.add_file(b"no image at all", "a.txt")
    dead = (await ekb.download_urls([file]))[file].url
    with pytest.raises(RecognitionError):
        await ekb.verify(dead, staff_id="c:s")
    assert quick_box.count("verify") == 1
    with pytest.raises(ProviderError):
        await ekb.ocr(dead)
    assert quick_box.count("ocr") == 3


async def test_recognition_is_repeated_once_with_a_fresh_url(ekb: EkbSession, quick_box: Sandbox) -> None:
    """After 识别失败 for an attachment, which its URL may cause, the call is repeated once with another URL."""
    file = quick_box.vendor.add_file(b"no image at all", "a.txt")
    with pytest.raises(RecognitionError):
        await ekb.verify(file, staff_id="c:s")
    assert quick_box.count("verify") == 2
    assert quick_box.count("download_urls") == 2


async def test_the_queue_is_bounded() -> None:
    """A job beyond `queue_size` raises `QueueFullError`."""
    async with Sandbox() as box, session_on(box, ocr_rate=1.0, queue_size=2, close_timeout=0) as ekb:
        first = ekb.submit_ocr(url(0))
        await box.arrived("ocr")
        ekb.submit_ocr(url(1))
        ekb.submit_ocr(url(2))
        with pytest.raises(QueueFullError, match="queue_size"):
            ekb.submit_ocr(url(3))
        assert (await first).platform


async def test_cancelling_the_caller_removes_the_job() -> None:
    """A queued call whose caller is cancelled uses no slot."""
    async with Sandbox(ocr_rate=0) as box, session_on(box, ocr_rate=20) as ekb:
        first = asyncio.create_task(ekb.ocr(url("first")))
        await box.arrived("ocr")
        unwanted = [asyncio.create_task(ekb.ocr(url(f"unwanted{n}"))) for n in range(50)]
        last = asyncio.create_task(ekb.ocr(url("last")))
        await asyncio.sleep(0)
        for task in unwanted:
            task.cancel()
        await asyncio.gather(first, last)
        assert order_of_arrival(box) == ["first", "last"]
        assert ekb.stats().ocr.queued == 0


def test_a_ready_call_starts_at_once() -> None:
    """With an open slot and a token a call runs as soon as it is submitted; cancelled before it is sent, it costs no
    slot and is not billed.
    """
    vendor = Vendor()
    transport = InMemoryTransport(vendor, latency=3.0)
    keys = AppCredentials(app_key=vendor.rules.app_key, app_security=vendor.rules.app_security)

    async def main() -> None:
        async with EkbSession(keys, transport=transport) as ekb:
            await ekb.ocr(url("first"))
            regretted = ekb.submit_ocr(url("regretted"))
            assert (regretted.state, regretted.cancel(), regretted.state) == ("running", True, "cancelled")
            began = asyncio.get_running_loop().time()
            await asyncio.gather(ekb.ocr(url("second")), ekb.ocr(url("third")))
            assert asyncio.get_running_loop().time() - began == pytest.approx(1.01 + 3.02, abs=0.1)

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(main())
    assert list(vendor.billed["ocr"]) == [url(name) for name in ("first", "second", "third")]


@pytest.mark.parametrize("passes", [0, 1, 2])
def test_a_retry_cancelled_as_it_gets_its_slot_holds_up_no_call(passes: int) -> None:
    """The next call goes on, in whichever iteration of the event loop a retry is cancelled."""
    vendor = Vendor(ocr_rate=0.4)
    transport = InMemoryTransport(vendor, latency=0.5)
    keys = AppCredentials(app_key=vendor.rules.app_key, app_security=vendor.rules.app_security)

    async def main() -> None:
        async with EkbSession(keys, transport=transport, config=SessionConfig(max_backoff=3)) as ekb:
            await ekb.ocr(url("first"))
            job = ekb.submit_ocr(url("regretted"))
            while job.attempts == 0 or job.state == "running" or (job.eta or 0) > 0.01:  # noqa: ASYNC110 - there is no event for it, and time is virtual
                await asyncio.sleep(0.001)
            while job.state == "queued":  # noqa: ASYNC110 - the exact iteration of the loop matters
                await asyncio.sleep(0)
            for _ in range(passes):
                await asyncio.sleep(0)
            assert job.cancel()
            async with asyncio.timeout(60):
                assert await ekb.ocr(url("next"))
            assert ekb.stats().ocr.running == 0

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(main())


async def test_a_running_job_outlives_its_waiters() -> None:
    """A running job continues when its waiter is cancelled, and may be awaited again and by several tasks."""
    async with Sandbox(ocr_rate=0, latency=0.1) as box, session_on(box) as ekb:
        job = ekb.submit_ocr(url(1))
        await box.arrived("ocr")
        assert (job.state, job.position, job.eta) == ("running", None, 0.0)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                await job
        assert (await job) is (await job)
        assert (job.state, job.position, job.eta) == ("done", None, None)
        assert box.count("ocr") == 1
        assert not job.cancel()


async def test_cancelled_jobs_are_cancelled_for_all() -> None:
    """Every task that awaits a cancelled job gets `CancelledError`."""
    async with Sandbox() as box, session_on(box, ocr_rate=1.0) as ekb:
        first, second = ekb.submit_ocr(url(0)), ekb.submit_ocr(url(1))
        waiter = asyncio.ensure_future(_outcome(second))
        await box.arrived("ocr")
        assert second.cancel()
        assert second.state == "cancelled"
        assert await waiter == "cancelled"
        assert await first


async def _outcome(job: object) -> str:
    try:
        await job  # type: ignore[misc]
    except asyncio.CancelledError:
        return "cancelled"
    return "done"


def test_being_refused_slows_down_and_loses_nothing() -> None:
    """Refusals for the rate slow down the queue until calls are accepted, and lose no call."""
    vendor = Vendor(ocr_rate=1 / 1.5)
    transport = InMemoryTransport(vendor, latency=1.0)
    keys = AppCredentials(app_key=vendor.rules.app_key, app_security=vendor.rules.app_security)

    async def main() -> float:
        async with EkbSession(keys, config=SessionConfig(max_tries=1), transport=transport) as ekb:
            await asyncio.gather(*(ekb.ocr(url(n)) for n in range(100)))
            assert ekb.stats().ocr.throttled == vendor_refusals()
            return asyncio.get_running_loop().time()

    def vendor_refusals() -> int:
        return sum(status == 429 for _, call, status in transport.arrivals if call == "ocr")

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        elapsed = runner.run(main())
    assert vendor.billed["ocr"].total() == 100
    assert vendor_refusals() < 30
    assert elapsed < 100 * 1.5 * 1.5


def test_retry_after_is_kept() -> None:
    """No call is sent before the time that the vendor's Retry-After asks for."""
    vendor = Vendor(ocr_rate=1 / 10, retry_after=9.5)
    transport = InMemoryTransport(vendor, latency=0.1)
    keys = AppCredentials(app_key=vendor.rules.app_key, app_security=vendor.rules.app_security)

    async def main() -> None:
        async with EkbSession(keys, transport=transport) as ekb:
            await asyncio.gather(ekb.ocr(url(1)), ekb.ocr(url(2)))

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(main())
    starts = [(at, status) for at, call, status in transport.arrivals if call == "ocr"]
    assert [status for _, status in starts] == [200, 429, 200]
    assert starts[2][0] - starts[1][0] >= 9.5


async def test_closing_lets_running_calls_finish_and_fails_the_queue() -> None:
    """However often a session is closed, running calls finish and queued ones raise `SessionClosedError`."""
    async with Sandbox(latency=0.3) as box:
        ekb = EkbSession(box.credentials, base_url=box.base_url)
        running = ekb.submit_ocr(url(1))
        queued = [ekb.submit_ocr(url(n)) for n in range(2, 20)]
        await box.arrived("ocr")
        await asyncio.gather(*(ekb.close() for _ in range(5)))
        assert running.state == "done"
        for job in queued:
            with pytest.raises(SessionClosedError):
                await job
        for call in (ekb.ocr(url(1)), ekb.invoice_url("c:1:1"), ekb.invoice_details("c:1:1"), ekb.upload(b"1", "a")):
            with pytest.raises(SessionClosedError):
                await call
        await ekb.close()
        assert box.count("ocr") == 1


async def test_closing_is_limited_in_time() -> None:
    """A call that does not end within `close_timeout` is cancelled, and its error warns that it may be billed."""
    async with Sandbox(latency=60.0) as box:
        async with session_on(box, close_timeout=0.05) as ekb:
            job = ekb.submit_ocr(url(1))
            await box.arrived("ocr")
        with pytest.raises(SessionClosedError, match="billed"):
            await job


async def test_an_unused_session_closes() -> None:
    """A session without a call can be closed, since nothing was opened."""
    ekb = EkbSession(AppCredentials(app_key="k", app_security="s"))
    await ekb.close()
    await ekb.close()


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"file": "not a url"}, "URL"),
        ({"file": 7}, "file"),
        ({"file": "https://f.example/a.png", "max_wait": -1}, "max_wait"),
        ({"file": "https://f.example/a.png", "max_wait": float("nan")}, "max_wait"),
        ({"file": "https://f.example/a.png", "timeout": 0}, "timeout"),
        ({"file": "https://f.example/a.png", "priority": 9}, "priority"),
    ],
)
async def test_wrong_arguments(ekb: EkbSession, arguments: dict[str, object], field: str) -> None:
    """A wrong argument raises `ConfigError` with its name before anything is sent."""
    with pytest.raises(ConfigError, match=field):
        await ekb.ocr(**arguments)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="staff_id"):
        await ekb.verify("https://f.example/a.png", staff_id="")
