"""The fixture `ekb_sandbox` in all kinds of tests, and the sandbox in a thread on which it is built."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from pathlib import Path

import aiohttp
import pytest

from ekb_async import EkbSession
from ekb_async.sandbox import Fault, Sandbox

URL = "https://files.example.com/a.png"


async def recognise(box: Sandbox) -> None:
    """Make one call that must be answered."""
    async with asyncio.timeout(5), EkbSession(box.credentials, base_url=box.base_url) as ekb:
        assert (await ekb.ocr(URL)).invoices


class TestFixture:
    def test_in_a_synchronous_test(self, ekb_sandbox: Sandbox) -> None:
        """A synchronous test can run several loops, one after another, against one sandbox."""
        ekb_sandbox.vendor.rules.ocr_rate = 0
        for _ in range(2):
            asyncio.run(recognise(ekb_sandbox))
        assert ekb_sandbox.count("ocr", status=200) == 2

    async def test_in_the_loop_of_a_function(self, ekb_sandbox: Sandbox) -> None:
        """A test in pytest-asyncio's default loop has the sandbox, its log and its faults."""
        ekb_sandbox.faults.append(Fault.answer(503, calls="token", times=1))
        await recognise(ekb_sandbox)
        assert [entry.call for entry in ekb_sandbox.log] == ["token", "token", "ocr"]

    @pytest.mark.asyncio(loop_scope="module")
    async def test_in_the_loop_of_a_module(self, ekb_sandbox: Sandbox) -> None:
        """A test in a module-scoped loop is served as well."""
        await recognise(ekb_sandbox)

    @pytest.mark.asyncio(loop_scope="session")
    @pytest.mark.ekb_sandbox(ocr_rate=7)
    async def test_in_the_loop_of_a_session(self, ekb_sandbox: Sandbox) -> None:
        """The marker's arguments apply, also in a session-scoped loop."""
        assert ekb_sandbox.vendor.rules.ocr_rate == 7
        await recognise(ekb_sandbox)

    async def test_waits_for_arrivals_in_the_loop_of_the_test(self, ekb_sandbox: Sandbox) -> None:
        """`arrived` can be awaited in the test's loop, before and after the request."""
        waiting = asyncio.ensure_future(ekb_sandbox.arrived("ocr"))
        await recognise(ekb_sandbox)
        async with asyncio.timeout(5):
            await waiting
            await ekb_sandbox.arrived("ocr")

    @pytest.mark.process
    def test_while_the_test_blocks(self, ekb_sandbox: Sandbox) -> None:
        """A blocking client without asyncio is answered."""
        code = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=5).read()"
        url = f"{ekb_sandbox.base_url}/api/openapi/v2/location?corpId={ekb_sandbox.vendor.rules.corporation}"
        subprocess.run([sys.executable, "-I", "-S", "-c", code, url], check=True)  # noqa: S603 - our own command
        assert ekb_sandbox.count("location", status=200) == 1


PLUGIN_TEST = """
import asyncio, pytest
from ekb_async import EkbSession

async def use(box):
    async with EkbSession(box.credentials, base_url=box.base_url) as ekb:
        assert (await asyncio.wait_for(ekb.ocr("https://files.example.com/a.png"), 5)).invoices

@pytest.fixture
def anyio_backend(): return "asyncio"

@pytest.mark.anyio
async def test_with_anyio(ekb_sandbox): await use(ekb_sandbox)

def test_with_no_plugin(ekb_sandbox): asyncio.run(use(ekb_sandbox))
"""


@pytest.mark.process
@pytest.mark.slow
def test_without_pytest_asyncio(tmp_path: Path) -> None:
    """The fixture also works in tests that anyio runs, and without any plugin for asynchronous tests."""
    (tmp_path / "test_it.py").write_text(PLUGIN_TEST)
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "--strict-markers", "-p", "no:cacheprovider"]
    more = ["-p", "ekb_async.testing", "-p", "anyio", "--rootdir", str(tmp_path), str(tmp_path)]
    environment = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    outcome = subprocess.run(  # noqa: S603 - our own command
        [*command, *more], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert "2 passed" in outcome.stdout, outcome.stdout


class TestThread:
    """A sandbox in a separate thread, `with Sandbox(…)`."""

    def test_leaves_nothing_behind(self) -> None:
        """Thread, listener and connections end with the block, also after an exception in it."""
        before = threading.enumerate()

        def fail_inside(box: Sandbox) -> None:
            with box:
                urls.append(box.base_url)
                asyncio.run(recognise(box))
                raise ZeroDivisionError

        box, urls = Sandbox(), list[str]()
        with pytest.raises(ZeroDivisionError):
            fail_inside(box)
        assert threading.enumerate() == before
        with pytest.raises(RuntimeError, match="not running"):
            _ = box.base_url

        async def refused() -> None:
            async with aiohttp.ClientSession() as http:
                with pytest.raises(aiohttp.ClientConnectorError):
                    await http.get(urls[0])

        asyncio.run(refused())

    def test_a_port_that_is_taken(self) -> None:
        """An error on starting is raised by the `with` statement, and no thread is left."""
        before = threading.enumerate()
        with Sandbox() as box:
            port = int(box.base_url.rpartition(":")[2])
            with pytest.raises(OSError, match="in use"), Sandbox(port=port):
                pass
        assert threading.enumerate() == before

    def test_entered_twice(self) -> None:
        """A sandbox cannot be entered while it runs, and can be entered again after it has ended."""
        box = Sandbox(ocr_rate=0)
        for _ in range(2):
            with box:
                with pytest.raises(RuntimeError, match="already"), box:
                    pass
                asyncio.run(recognise(box))

    async def test_callers_that_hang_do_not_hold_it_up(self) -> None:
        """The block can be left during a call, also from within a loop."""
        with Sandbox(latency=3600) as box:
            ekb = EkbSession(box.credentials, base_url=box.base_url)
            call = asyncio.ensure_future(ekb.ocr(URL))
            await box.arrived("ocr")
        call.cancel()
        await asyncio.wait([call])
        await ekb.close()
