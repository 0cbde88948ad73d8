"""The recipes of the documentation for services: each runs as it stands there, in processes of its own."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from ekb_async.sandbox import Fault, Sandbox
from tests.support.page_runs import STAFF
from tests.support.pages import ROOT
from tests.support.programs import Program, run, running
from tests.support.recipes import (
    aiohttp_url,
    clients,
    commands_of,
    upload,
    write_files,
)
from tests.support.waiting import until

pytestmark = [pytest.mark.process, pytest.mark.slow]

PROVIDER_FAILS = Fault.answer(400, "第三方出现问题请稍后再试", calls="verify")


# FastAPI


@asynccontextmanager
async def fastapi_service(directory: Path, box: Sandbox, *options: str) -> AsyncIterator[tuple[Program, str]]:
    """Run the service with the command of its page, on any free port."""
    write_files("fastapi.md", directory, box)
    (command,) = commands_of("fastapi.md", "uvicorn")
    async with running(directory, *command, "--port", "0", *options, box=box) as program:
        await program.has_printed("Application startup complete.", times=2)
        found = re.search(r"running on (http://\S+)", program.printed)
        assert found is not None
        yield program, found[1]


async def test_fastapi(tmp_path: Path) -> None:
    """Two workers verify at one pace, with one token, and a stream of events tells the state of a job."""
    async with (
        Sandbox(verify_rate=1.25) as box,  # two paces of one a second would be refused
        fastapi_service(tmp_path, box) as (program, url),
        clients(url, 32) as callers,
    ):
        of_workers = {(await each.get("/health")).json()["worker"]: each for each in callers}
        assert len(of_workers) == 2
        answers = await asyncio.gather(
            *(caller.post("/verify", **upload(f"{n}.png")) for caller in of_workers.values() for n in range(2))
        )
        assert [answer.status_code for answer in answers] == [200] * 4
        assert all(answer.json()["invoices"][0]["id"] for answer in answers)
        events = (await callers[-1].post("/verify/events", **upload("last.png"))).text.split("\n\n")[:-1]
        names = [event.partition("\n")[0] for event in events]
        assert names == ["event: state"] * (len(names) - 1) + ["event: result"]
        assert json.loads(events[-1].partition("data: ")[2])["invoices"]
        assert (len(box.starts("verify")), box.count("token")) == (5, 1)
        for command in commands_of("fastapi.md", "curl"):
            status, printed = await run(
                tmp_path, *command[:-1], command[-1].replace("http://127.0.0.1:8000", url), box=box
            )
            assert (status, '"invoices":' in printed) == (0, True), printed
        assert not [entry for entry in box.log if entry.call == "verify" and not entry.accepted]
        assert await program.stop() == 0


async def test_fastapi_stopped(tmp_path: Path) -> None:
    """SIGTERM in the middle of a call: the calls in progress are answered, and those that wait as well."""
    async with (
        Sandbox(latency=2.0) as box,
        fastapi_service(tmp_path, box) as (program, url),
        clients(url, 3) as callers,
    ):
        calls = [asyncio.create_task(caller.post("/verify", **upload())) for caller in callers]
        await box.arrived("verify")
        assert await program.stop() == 0
        assert [(await call).status_code for call in calls] == [200] * 3
        assert len(box.starts("verify")) == 3


async def test_fastapi_cut_off(tmp_path: Path) -> None:
    """Calls that wait when the time to stop has passed are not sent."""
    async with (
        Sandbox(latency=1.0) as box,
        fastapi_service(tmp_path, box, "--timeout-graceful-shutdown", "1") as (program, url),
        clients(url, 8) as callers,
    ):
        calls = [asyncio.create_task(caller.post("/verify", **upload())) for caller in callers]
        await box.arrived("verify")
        assert await program.stop() == 0
        answers = await asyncio.gather(*calls, return_exceptions=True)
        answered = [each for each in answers if isinstance(each, httpx.Response) and each.status_code == 200]
        assert 1 <= len(answered) <= box.count("verify") < 8


@pytest.mark.realtime
async def test_fastapi_left(tmp_path: Path) -> None:
    """The job of a caller who has disconnected leaves the queue, and its call is not sent."""
    async with (
        Sandbox(latency=1.0) as box,
        fastapi_service(tmp_path, box) as (_, url),
        clients(url, 13) as callers,
    ):
        workers = [(await caller.get("/health")).json()["worker"] for caller in callers]
        most = max(workers, key=workers.count)
        first, *others = [caller for caller, worker in zip(callers, workers, strict=True) if worker == most][:7]
        calls = [asyncio.create_task(caller.post("/verify", **upload())) for caller in others]
        await box.arrived("verify")
        async with first.stream("POST", "/verify/events", **upload()) as stream:
            assert '"state": "queued"' in await anext(stream.aiter_text())
        assert [(await call).status_code for call in calls] == [200] * 6

        async def is_empty() -> bool:
            state = (await first.get("/health")).json()
            return not state["verify.queued"] and not state["verify.running"]

        await until(is_empty)
        assert len(box.starts("verify")) == 6


async def test_fastapi_errors(tmp_path: Path) -> None:
    """Each error has its status, and says when to try again if that helps."""
    async with (
        Sandbox(verify_rate=0, staff={STAFF}) as box,
        fastapi_service(tmp_path, box) as (_, url),
        clients(url, 1) as (caller,),
    ):
        empty = await caller.post("/verify", **upload(content=b""))
        assert (empty.status_code, box.log) == (400, [])
        stranger = await caller.post("/verify", **upload(staff_id="corp:nobody"))
        assert (stranger.status_code, "人员不存在" in stranger.json()["detail"]) == (422, True)
        box.faults.append(Fault.answer(400, "第三方出现问题请稍后再试", calls="verify"))
        provider = await caller.post("/verify", **upload())
        assert (provider.status_code, provider.headers["Retry-After"]) == (503, "60")
        box.permissions.discard("verify")
        box.faults.clear()
        denied = await caller.post("/verify", **upload())
        assert (denied.status_code, denied.json()) == (502, {"detail": "the vendor cannot serve this now"})
        events = (await caller.post("/verify/events", **upload())).text
        assert events.endswith('event: error\ndata: {"status": 502, "detail": "the vendor cannot serve this now"}\n\n')


async def test_fastapi_busy(tmp_path: Path) -> None:
    """A caller who would wait too long is refused at once, with the seconds after which to try again."""
    async with Sandbox() as box, fastapi_service(tmp_path, box) as (_, url), clients(url, 48) as callers:
        calls = [asyncio.create_task(caller.post("/verify", **upload())) for caller in callers]
        for each in asyncio.as_completed(calls):
            answer = await each
            if answer.status_code == 429:
                assert 15 <= int(answer.headers["Retry-After"]) < 60
                break
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        assert box.count("verify") < 10, "none was refused"


# aiohttp.web


async def test_aiohttp(tmp_path: Path) -> None:
    """The service verifies, refuses what cannot be verified, and answers the calls in progress after SIGTERM."""
    write_files("aiohttp.md", tmp_path, box := Sandbox(latency=1.0, staff={STAFF}))
    (command,) = commands_of("aiohttp.md", "python")
    async with (
        box,
        running(tmp_path, *command, box=box, PORT="0") as program,
        clients(url := await aiohttp_url(program), 3) as callers,
    ):
        (curl,) = commands_of("aiohttp.md", "curl")
        _, printed = await run(tmp_path, *curl[:-1], curl[-1].replace("http://127.0.0.1:8080", url), box=box)
        assert '"invoices":' in printed
        answers = [
            await callers[0].post("/verify"),
            await callers[0].post("/verify", **upload(content=b"")),
            await callers[0].post("/verify", **upload(staff_id="corp:nobody")),
        ]
        assert [answer.status_code for answer in answers] == [400, 400, 422]
        box.faults.append(PROVIDER_FAILS)
        assert (await callers[0].post("/verify", **upload())).status_code == 502
        box.faults.clear()
        before = box.count("verify")
        calls = [asyncio.create_task(caller.post("/verify", **upload())) for caller in callers]
        await box.arrived("verify", before + 1)
        assert await program.stop() == 0
        assert [(await call).status_code for call in calls] == [200] * 3


# Django and plain scripts


SETTINGS = """
SECRET_KEY = "a test"
ROOT_URLCONF = "urls"
INSTALLED_APPS = ["invoices"]
ALLOWED_HOSTS = ["127.0.0.1"]
LOGGING_CONFIG = None
"""
URLS = """
from django.urls import path
from invoices.views import verify

urlpatterns = [path("verify", verify)]
"""
DJANGO = {"DJANGO_SETTINGS_MODULE": "settings"}


def write_site(directory: Path, box: Sandbox) -> None:
    """Write the files of the recipe, in a site without anything else."""
    write_files("sync.md", directory, box)
    (directory / "settings.py").write_text(SETTINGS)
    (directory / "urls.py").write_text(URLS)
    for package in ("invoices", "invoices/management", "invoices/management/commands"):
        (directory / package / "__init__.py").touch()


async def test_script(tmp_path: Path) -> None:
    """A script prints what is on its files, and fails if one of them could not be recognised."""
    async with Sandbox(ocr_rate=0) as box:
        write_files("sync.md", tmp_path, box)
        ((*command, hotel, train),) = commands_of("sync.md", "python script.py")
        status, printed = await run(tmp_path, *command, hotel, train, box=box)
        assert (status, len(printed.splitlines())) == (0, 2), printed
        status, printed = await run(tmp_path, *command, hotel, "no.pdf", box=box)
        assert (status, "no.pdf" in printed) == (1, True)


async def test_an_interrupted_script(tmp_path: Path) -> None:
    """What was paid for is printed before the next file is waited for."""
    async with Sandbox() as box:
        write_files("sync.md", tmp_path, box)
        ((*command, hotel, train),) = commands_of("sync.md", "python script.py")
        async with running(tmp_path, *command, hotel, *[train] * 30, box=box) as program:
            await program.has_printed(hotel)
            assert await program.stop(signal.SIGINT) != 0
    assert box.count("ocr") < 31


async def test_django_command(tmp_path: Path) -> None:
    """The command verifies a folder, and fails if a file could not be verified."""
    async with Sandbox(verify_rate=0, faults=[Fault.answer(400, "识别失败", calls="verify")]) as box:
        write_site(tmp_path, box)
        ((python, manage, *arguments),) = commands_of("sync.md", "python manage.py")
        assert (python, manage) == ("python", "manage.py")
        places = {"PYTHONPATH": f"{ROOT}:{tmp_path}", **DJANGO}
        status, printed = await run(tmp_path, "python", "-m", "django", *arguments, box=box, **places)
        assert (status, "3 files could not be verified" in printed) == (1, True), printed
        box.faults.clear()
        (tmp_path / "发票" / "公司.xml").unlink()
        status, printed = await run(tmp_path, "python", "-m", "django", *arguments, box=box, **places)
        assert (status, printed.count(" True ")) == (0, 2), printed


async def test_django_view(tmp_path: Path) -> None:
    """The threads of a Django site share one session, which is closed when the process ends."""
    async with Sandbox(staff={STAFF}) as box:
        write_site(tmp_path, box)
        serve = ("python", "-X", "dev", "-m", "django", "runserver", "--noreload", "127.0.0.1:0")
        places = {"PYTHONPATH": f"{ROOT}:{tmp_path}", **DJANGO}
        async with running(tmp_path, *serve, box=box, **places) as program:
            await program.has_printed("Quit the server with CONTROL-C.")
            found = re.search(r"http://127.0.0.1:\d+", program.printed)
            assert found is not None
            async with clients(found[0], 3) as callers:
                answers = await asyncio.gather(*(caller.post("/verify", **upload()) for caller in callers))
                assert [answer.status_code for answer in answers] == [200] * 3
                assert answers[0].json()["invoices"]
                refused = [
                    await callers[0].post("/verify"),
                    await callers[0].post("/verify", **upload(content=b"")),
                    await callers[0].post("/verify", **upload(staff_id="corp:nobody")),
                    await callers[0].post("/verify", **upload(content=bytes(30 * 2**20 + 1))),
                ]
                assert [answer.status_code for answer in refused] == [400, 400, 422, 400]
                box.faults.append(PROVIDER_FAILS)
                assert (await callers[0].post("/verify", **upload())).status_code == 502
            assert box.count("token") == 1
            assert await program.stop(signal.SIGINT) == 0
            assert "atexit" not in program.printed


# pytest of a service


async def test_pytest(tmp_path: Path) -> None:
    """The tests of the service pass, and only with the service as it is."""
    write_files("pytest.md", tmp_path, box := Sandbox())
    write_files("fastapi.md", tmp_path, box)
    (command,) = commands_of("pytest.md", "pytest")
    status, printed = await run(tmp_path, *command, box=None)
    assert (status, "7 passed" in printed) == (0, True), printed
    service = tmp_path / "service.py"
    service.write_text(service.read_text().replace("429", "503"))
    status, printed = await run(tmp_path, *command, box=None)
    assert (status, "1 failed, 6 passed" in printed) == (1, True), printed
