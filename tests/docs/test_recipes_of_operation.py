"""The recipes for jobs, workers, monitoring and proxies: each runs as it stands in the documentation, on a sandbox."""

from __future__ import annotations

import json
import os
import re
import shlex
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
import yaml
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from ekb_async.ext.engines.timing import WorkerTiming
from ekb_async.sandbox import Fault, Sandbox
from tests.support.backlogs import names_in
from tests.support.page_runs import STAFF
from tests.support.pages import CHINESE, ROOT, blocks_of
from tests.support.postgres import connected
from tests.support.programs import run, running
from tests.support.recipes import (
    aiohttp_url,
    check_units,
    clients,
    commands_of,
    settings_of,
    write_files,
)
from tests.support.tls import Authority, Proxy, proxy_to, tls_in_front
from tests.support.waiting import until, until_in_database

pytestmark = [pytest.mark.process, pytest.mark.slow]


# A nightly job


NIGHTS = {
    "all is well": (0, {}, 3),
    "the budget is spent": (0, {"EKB_PER_DAY": "1"}, 1),
    "a row has failed": (1, {}, 3),
    "the keys are wrong": (3, {"EKB_APP_SECURITY": "wrong"}, 0),
}


@pytest.mark.parametrize("night", NIGHTS)
async def test_nightly(night: str, tmp_path: Path) -> None:
    """The command of the unit verifies a folder, exports the results, and ends with a status for monitoring."""
    status, variables, billed = NIGHTS[night]
    faults = [Fault.answer(400, "识别失败", calls="verify_by_fields")] if night == "a row has failed" else []
    async with Sandbox(ocr_rate=0, verify_rate=0, faults=faults) as box:
        write_files("nightly.md", tmp_path, box)
        command = settings_of(tmp_path / "ekb-nightly.service")["Service"]["ExecStart"].split()
        assert command == ["/opt/ekb/bin/ekb-nightly", "/srv/invoices"]
        ended, printed = await run(tmp_path, "bash", "ekb-nightly", "发票", box=box, EKB_STAFF_ID=STAFF, **variables)
        assert ended == status, printed
        assert [name for name in names_in(tmp_path) if name.startswith("results-") and name.endswith(".xlsx")]
        assert sum(box.count(call) for call in ("verify", "verify_by_fields")) == billed, printed


async def test_a_night_that_was_cut_off(tmp_path: Path) -> None:
    """What ended in a night that did not come to its export is in the next workbook, what was exported is not."""
    async with Sandbox(ocr_rate=0, verify_rate=0) as box:
        write_files("nightly.md", tmp_path, box)
        database = tmp_path / "nightly.sqlite"
        for command in (("add", "nightly.sqlite", "发票", "--staff-id", STAFF), ("run", "nightly.sqlite")):
            status, printed = await run(tmp_path, "ekb", "backlog", *command, box=box)
            assert status == 0, printed
        with closing(sqlite3.connect(database)) as connection, connection:
            connection.execute("UPDATE calls SET ended_at = ended_at - 24 * 3600")
        for rows in (3, 0):
            status, printed = await run(tmp_path, "bash", "ekb-nightly", "发票", box=box, EKB_STAFF_ID=STAFF)
            assert (status, f"{rows} rows in results-" in printed) == (0, True), printed


async def test_nightly_by_cron(tmp_path: Path) -> None:
    """The line for cron runs the script, and prints what it printed only if it failed."""
    async with Sandbox(ocr_rate=0, verify_rate=0) as box:
        write_files("nightly.md", tmp_path, box)
        (tmp_path / "ekb-nightly").chmod(0o755)
        (tmp_path / "env").write_text(f"EKB_STAFF_ID={STAFF}\nEKB_UNTIL=yesterday\n")
        (line,) = [each for each in (tmp_path / "ekb-nightly.cron").read_text().splitlines() if each[0].isdigit()]
        *_, user, command = line.split(maxsplit=6)
        assert user == "ekb"
        places = {"/var/lib/ekb": str(tmp_path), "/etc/ekb": str(tmp_path), "/srv/invoices": "发票"}
        for place, here in places.items():
            command = command.replace(place, here)
        path = f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        status, printed = await run(tmp_path, "env", f"PATH={path}", "sh", "-c", command, box=box)
        assert (status, "--until" in printed) == (0, True), printed
        assert "3 rows added" in (tmp_path / "nightly.log").read_text()


async def test_nightly_units(tmp_path: Path) -> None:
    """systemd accepts the units."""
    write_files("nightly.md", tmp_path, Sandbox())
    (tmp_path / "ekb-nightly").chmod(0o755)
    await check_units(tmp_path, tmp_path)
    unit = settings_of(tmp_path / "ekb-nightly.service")
    assert unit["Unit"]["OnFailure"] == "ekb-alert@%n.service"


# Workers


WORKERS = ["pgqueuer", "procrastinate"]


def write_accounts(directory: Path, box: Sandbox) -> None:
    """Write the file of accounts that the page shows, with the address and the keys of a sandbox."""
    file = directory / "tenants.toml"
    keys = {'app_key = "…"': f'app_key = "{box.credentials.app_key}"'}
    keys['app_security = "…"'] = f'app_security = "{box.credentials.app_security}"'
    text = file.read_text().replace("https://app.ekuaibao.com", box.base_url)
    for placeholder, key in keys.items():
        text = text.replace(placeholder, key)
    file.write_text(text)
    file.chmod(0o600)


def worker_command(directory: Path, engine: str) -> list[str]:
    """Return the command of a unit without the directory of its program."""
    return shlex.split(
        settings_of(directory / f"ekb-{engine}@.service")["Service"]["ExecStart"].removeprefix("/opt/ekb/bin/")
    )


@pytest.mark.parametrize("engine", WORKERS)
async def test_workers(engine: str, tmp_path: Path, empty_database: str) -> None:
    """A worker makes the calls that a program has added, and ends those in progress after SIGTERM."""
    async with Sandbox(verify_rate=0, latency=1.0) as box, connected(empty_database) as database:
        write_files("workers.md", tmp_path, box)
        write_accounts(tmp_path, box)
        places = {
            "EKB_DSN": empty_database,
            "EKB_TENANTS": str(tmp_path / "tenants.toml"),
            "PYTHONPATH": f"{ROOT}:{tmp_path}",
        }
        assert await run(tmp_path, "python", "install.py", engine, box=None, **places) == (0, "")
        async with running(tmp_path, *worker_command(tmp_path, engine), box=None, **places) as worker:
            compose = yaml.safe_load((tmp_path / "compose.yaml").read_text())
            shell, probe = compose["services"]["worker"]["healthcheck"]["test"]

            async def is_healthy() -> bool:
                assert shell == "CMD-SHELL"
                return (await run(tmp_path, "sh", "-c", probe.replace("$$", "$"), box=None, **places))[0] == 0

            await until(is_healthy)
            added = await run(tmp_path, "python", "add.py", "acme", STAFF, "hotel.pdf", box=None, **places)
            assert added == (0, "1 of 1 added\n")
            await until_in_database(database, "EXISTS (SELECT 1 FROM ekb_call WHERE state = 'done')")
            await run(tmp_path, "python", "add.py", "acme", STAFF, "train.png", box=None, **places)
            await box.arrived("verify", 2)
            assert await worker.stop() == 0
        await until_in_database(database, "(SELECT count(*) FROM ekb_call WHERE state = 'done') = 2")
        status, printed = await run(tmp_path, "sh", "-c", 'ekb backlog status "$EKB_DSN"', box=None, **places)
        assert (status, re.search(r"done +2 rows", printed) is not None) == (0, True), printed


async def test_workers_units(tmp_path: Path) -> None:
    """systemd accepts the units; the containers start the same programs, and have the same time to end."""
    write_files("workers.md", tmp_path, Sandbox())
    await check_units(tmp_path, Path(sys.executable).parent)
    compose = yaml.safe_load((tmp_path / "compose.yaml").read_text())["services"]
    dockerfile = (tmp_path / "Dockerfile").read_text().splitlines()
    assert json.loads(dockerfile[-1].removeprefix("CMD ")) == worker_command(tmp_path, "pgqueuer")
    (copied,) = [line.split()[1:-1] for line in dockerfile if line.endswith(" ./")]
    assert compose["install"]["command"] == ["python", "install.py", "pgqueuer"]
    assert all((tmp_path / name).exists() for name in copied)
    service = settings_of(tmp_path / "ekb-pgqueuer@.service")["Service"]
    assert compose["worker"]["stop_grace_period"] == f"{service['TimeoutStopSec']}s" == "75s"
    assert WorkerTiming().close_timeout < 75


# Prometheus and OpenTelemetry


async def test_prometheus(tmp_path: Path) -> None:
    """The service shows the figures of its session as Prometheus reads them."""
    async with Sandbox() as box:
        write_files("monitoring.md", tmp_path, box)
        (command,) = commands_of("monitoring.md", "python monitored.py")
        async with running(tmp_path, *command, box=box, PORT="0") as program:
            async with clients(await aiohttp_url(program), 1) as (caller,):
                recognised = await caller.post("/ocr", content="https://files.example.com/hotel.png")
                assert recognised.json()["invoices"]
                text = (await caller.get("/metrics")).text
            assert await program.stop() == 0
    samples = {
        (sample.name, sample.labels["call"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["ekb_sent_total", "ocr"] == samples["ekb_succeeded_total", "ocr"] == 1
    assert samples["ekb_queued", "verify"] == 0
    assert samples["ekb_interval_seconds", "ocr"] >= 1


@asynccontextmanager
async def otlp_collector() -> AsyncIterator[tuple[str, dict[str, bytes]]]:
    """Listen as a collector of OpenTelemetry does; yield its address, and what was sent to each path."""
    received: dict[str, bytes] = {}

    async def receive(request: web.BaseRequest) -> web.Response:
        received[request.path] = received.get(request.path, b"") + await request.read()
        return web.Response(content_type="application/x-protobuf")

    runner = web.ServerRunner(web.Server(receive))
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", received
    finally:
        await runner.cleanup()


async def test_opentelemetry(tmp_path: Path) -> None:
    """The program sends traces, the metrics of its session and those of its backlog, without tokens."""
    async with Sandbox(verify_rate=0) as box, otlp_collector() as (address, received):
        write_files("monitoring.md", tmp_path, box)
        (command,) = commands_of("monitoring.md", "python traced.py")
        status, printed = await run(tmp_path, *command, box=box, OTEL_EXPORTER_OTLP_ENDPOINT=address)
        assert (status, printed) == (0, "")
        traces, metrics = received["/v1/traces"], received["/v1/metrics"]
        assert all(name in traces for name in (b"verify a folder", b"ekb verify", b"ekb.tenant", b"acme"))
        assert all(name in metrics for name in (b"ekb.backlog.oldest_ready_age", b"ekb.backlog.rows", b"acme"))
        secrets = [secret.encode() for secret in box.vendor.tokens.secrets]
        assert secrets
        assert not [secret for secret in secrets if secret in traces + metrics]


# Proxy and own CA


HOST = "ekb.enterprise.example"
LOGIN = "user:password"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


@pytest.fixture
async def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Sandbox, Proxy, Path]]:
    """A sandbox behind a proxy and TLS of an authority of its own, and the file with that authority."""
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    authority = Authority(tmp_path, HOST)
    async with Sandbox(platform_url=f"https://{HOST}") as box:
        write_files("proxy.md", tmp_path, box)
        port = int(box.base_url.rpartition(":")[2])
        async with tls_in_front(port, authority.server_context()) as tls, proxy_to(tls, LOGIN) as proxy:
            yield box, proxy, authority.bundle


def commands_with(proxy: str, bundle: Path, variable: str) -> str:
    """Return the commands of the page that set a variable, with a proxy and a bundle of the test."""
    (block,) = [block for block in blocks_of(CHINESE / "recipes" / "proxy.md") if f"export {variable}=" in block.text]
    text = block.text.replace("http://user:password@proxy.internal:3128", proxy)
    return text.replace("/etc/ssl/company.pem", str(bundle))


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "COMPANY_PROXY"])
async def test_proxy(network: tuple[Sandbox, Proxy, Path], tmp_path: Path, variable: str) -> None:
    """The programs of the page reach the vendor through a proxy with a login, and trust the company's authority."""
    box, proxy, bundle = network
    commands = commands_with(proxy.url, bundle, variable)
    status, printed = await run(tmp_path, "bash", "-euc", commands, box=box, EKB_BASE_URL=f"https://{HOST}")
    assert (status, "OCR" in printed) == (0, True), printed
    assert set(proxy.requests) == {f"CONNECT {HOST}:443 HTTP/1.1"}


async def test_proxy_errors(network: tuple[Sandbox, Proxy, Path], tmp_path: Path) -> None:
    """The program says whether the proxy or the certificate is the trouble, and shows no password."""
    box, proxy, bundle = network
    place = {"EKB_BASE_URL": f"https://{HOST}"}
    program = ("python", "licences.py")
    wrong = proxy.url.replace(LOGIN, "user:wr0ng")
    for said, variables in {
        "network: ": {"HTTPS_PROXY": proxy.url},
        "settings: ": {"HTTPS_PROXY": wrong, "SSL_CERT_FILE": str(bundle)},
        "proxy: ": {"HTTPS_PROXY": "http://127.0.0.1:9", "SSL_CERT_FILE": str(bundle)},
    }.items():
        status, printed = await run(tmp_path, *program, box=box, **place, **variables)
        assert (status, said in printed) == (1, True), printed
        assert "wr0ng" not in printed
        assert "Traceback" not in printed
