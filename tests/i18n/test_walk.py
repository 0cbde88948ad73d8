"""A walk through all that people look at: in Chinese no English sentence appears, and in English no Chinese one.

Each command does its work once, and fails in its usual ways. A sentence is two words in a row; names of files, texts of
the vendor and command lines to copy are none.
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import aiohttp
import pytest

from ekb_async.sandbox import Fault, Sandbox
from tests.support.command import environment, start
from tests.support.foreign import chinese_in, english_in
from tests.support.walk import LOCALES, VENDOR_TEXTS, Walk


def _closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.mark.process
@pytest.mark.parametrize("lang", ["zh", "en"])
async def test_help_and_usage_errors(lang: str, tmp_path: Path) -> None:
    """The help of each command, and what is said about wrong options; a new command is covered by itself."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.walked_help"),
        env=environment(None, EKB_LANG="", LC_ALL=LOCALES[lang], COLUMNS="200"),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    texts = json.loads(output)
    assert "backlog export --help" in texts
    find = english_in if lang == "zh" else chinese_in
    assert {usage: found for usage, text in texts.items() if (found := find(text))} == {}


async def test_calls(walk: Walk, box: Sandbox, picture: Path) -> None:
    """Results, and files and IDs that are wrong."""
    for file in (picture, "attachment:only-an-id", "ftp://a/b.png", "missing.png"):
        await walk.ekb("ocr", file, box=box)
    await walk.ekb("verify", "https://files.example/a.png", "--staff-id", "corp:1001", box=box)
    empty = picture.with_name("empty.png")
    empty.touch()
    page = picture.with_name("page.pdf")
    page.write_text("<html><title>Login</title></html>")
    for wrong in (empty, page, picture.parent):
        await walk.ekb("ocr", wrong, box=box)
    box.vendor.remove_invoice("corp:1:1")
    for command in ("urls", "details"):
        await walk.ekb(command, "corp:1:1", "unknown-1", box=box)
        await walk.ekb(command, "", box=box)


@pytest.mark.parametrize("text", VENDOR_TEXTS[2:])
async def test_errors_of_the_vendor(walk: Walk, box: Sandbox, picture: Path, text: str) -> None:
    """Each documented error, in calls, in the rows of a backlog, and of the first call with the keys."""
    paid = {"ocr", "verify", "invoice_url"}
    box.faults.append(Fault.answer(400, text, calls=paid))
    if "再" not in text:
        await walk.ekb("ocr", picture, box=box)
        await walk.ekb("verify", picture, "--staff-id", "corp:1001", box=box)
    box.faults[:] = [Fault.answer(400, text)]
    await walk.ekb("doctor", box=box)


@pytest.mark.parametrize(
    "fault",
    [
        Fault.reset,
        Fault.lost_answer,
        Fault.cut_off,
        Fault.not_json,
        Fault.gateway_page,
        Fault.error_in_200,
        partial(Fault.gateway_page, 200),
        partial(Fault.answer, 301),
        partial(Fault.answer, 401),
        partial(Fault.answer, 404, "No route"),
        partial(Fault.answer, 413, "Request Entity Too Large"),
        partial(Fault.answer, 429),
        partial(Fault.answer, 500),
    ],
)
async def test_trouble_on_the_way(walk: Walk, box: Sandbox, picture: Path, fault: Callable[..., Fault]) -> None:
    """Answers that are lost, cut off or of a gateway; the log says what is repeated."""
    walk.data += ["No route", "Request Entity Too Large", "Bad Gateway"]
    box.faults.append(fault(times=1, calls="ocr"))
    await walk.ekb("-v", "ocr", picture, box=box)
    box.faults[:] = [fault()]
    await walk.ekb("doctor", box=box)
    box.faults[:] = [fault(calls="upload")]
    await walk.ekb("doctor", "--paid", box=box)


@pytest.mark.parametrize(
    "variables",
    [
        {"EKB_APP_KEY": ""},
        {"EKB_APP_SECURITY": "wrong"},
        {"EKB_APP_KEY": "'quoted'"},
        {"EKB_BASE_URL": "no url"},
        {"EKB_BASE_URL": "http://other.example"},
        {"EKB_BASE_URL": "https://nowhere.invalid"},
        {"EKB_BASE_URL": "https://app.example/?a=b"},
        {"EKB_BASE_URL": "closed"},
        {"HTTP_PROXY": "socks5://127.0.0.1:9", "EKB_BASE_URL": "http://other.example", "EKB_ALLOW_HTTP": "1"},
        {"HTTP_PROXY": "http://[", "EKB_BASE_URL": "http://other.example", "EKB_ALLOW_HTTP": "1"},
        {"HTTP_PROXY": "http://closed", "EKB_BASE_URL": "http://other.example", "EKB_ALLOW_HTTP": "1"},
        {"REQUESTS_CA_BUNDLE": "missing.pem", "EKB_BASE_URL": "https://other.example"},
        {"EKB_STATE_DIR": "/proc/none"},
        {"EKB_LANG": "fr"},
    ],
    ids=lambda variables: "-".join(f"{name}={value}" for name, value in variables.items()).replace("/", ""),
)
async def test_wrong_settings(walk: Walk, box: Sandbox, picture: Path, variables: dict[str, str]) -> None:
    """Keys, addresses, proxies and directories that cannot be used, in a call and in the doctor."""
    port = f"127.0.0.1:{_closed_port()}"
    given = {name: value.replace("closed", port) for name, value in variables.items()}
    if given.get("EKB_BASE_URL") == port:
        given["EKB_BASE_URL"] = f"http://{port}"
    if "closed" not in str(variables) and "nowhere" not in str(variables):
        # A call would be tried again for some seconds; the doctor makes each once.
        await walk.ekb("ocr", picture, box=box, **given)
    await walk.ekb("doctor", "--timeout", "5", box=box, **given)
    await walk.ekb("doctor", "--json", "--timeout", "5", box=box, **given)


@pytest.mark.slow
async def test_network_away(walk: Walk, box: Sandbox, picture: Path) -> None:
    """A call, and a run, that give up after all attempts."""
    away = f"http://127.0.0.1:{_closed_port()}"
    await walk.ekb("-v", "ocr", picture, box=box, EKB_BASE_URL=away)
    await walk.ekb("-v", "urls", "corp:1:1", box=box, EKB_BASE_URL=away)


async def test_doctor(walk: Walk, box: Sandbox, tmp_path: Path) -> None:
    """What the doctor finds with an account."""
    await walk.ekb("doctor", "--paid", "--staff-id", "corp:1001", box=box)
    await walk.ekb("doctor", "--paid", "--staff-id", "corp:gone", "--corporation-id", "other", box=box)
    await walk.ekb("doctor", "--capture", tmp_path / "bundle", box=box)
    await walk.ekb("doctor", "--capture", tmp_path / "bundle", box=box)
    box.vendor.set_licence("110407", expires_at=time.time() + 3 * 86_400)
    box.vendor.set_licence("219902", expires_at=time.time() - 3 * 86_400)
    await walk.ekb("doctor", box=box)


@pytest.mark.slow
@pytest.mark.process
async def test_demo(walk: Walk, tmp_path: Path) -> None:
    """The demo, in a new directory and in one that is not its own."""
    # The parties of its invoices, and a text of the vendor, which the table breaks at any character.
    walk.data += ["杭州云栖酒店管理有限公司", "杭州钱塘会议中心有限公司", "演示科技有限公司"]
    walk.data += ["该发票在单据", "中已经关联", "中已经", "关联"]
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    await walk.ekb("demo", "--directory", tmp_path / "full")
    await walk.ekb("demo", "--directory", tmp_path / "full" / "file")
    await walk.ekb("demo", "--directory", tmp_path / "demo")
    walk.look_at_file(tmp_path / "demo" / "results.csv")


async def test_completion(walk: Walk) -> None:
    """Scripts for shells, and how to use them."""
    walk.data += ["这"]
    for shell in ("bash", "zsh", "fish", "csh"):
        ended = await walk.ekb("completion", shell)
        walk.foreign = [each for each in walk.foreign if each[2] not in ended.output.decode().splitlines()]


@pytest.mark.process
async def test_sandbox(walk: Walk, tmp_path: Path) -> None:
    """The sandbox says how to use it, and what it answers."""
    walk.data += ["王小明", "李雷", "韩梅梅", "张伟"]
    await walk.ekb("sandbox", "--replay", tmp_path / "missing")
    await walk.ekb("sandbox", "--fault", "no-such-fault")
    await walk.ekb("sandbox", "--without", "no-such-call")
    process = await start("sandbox", "--log", box=None, EKB_LANG="", LC_ALL=LOCALES[walk.lang])
    assert process.stderr is not None
    first = (await process.stderr.readline()).decode()
    (address,) = re.findall(r"http://[\d.]+:\d+", first)
    async with aiohttp.ClientSession() as client, client.get(f"{address}/api/openapi/v2/location") as reply:
        await reply.read()
    process.send_signal(signal.SIGINT)
    output, messages = await process.communicate()
    walk.look("sandbox", first + output.decode() + messages.decode())
