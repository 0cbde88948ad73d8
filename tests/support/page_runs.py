"""Running the blocks of a page, in a directory with a few invoices and against a sandbox.

Placeholders of the documentation are replaced by what belongs to the test: the address of the vendor, the keys, and the
address of a database. Programs and commands otherwise run as they stand in the page.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import json
import os
import re
import signal
import sys
import tomllib
from decimal import Decimal
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from ekb_async.sandbox import SampleInvoice, Sandbox
from tests.support.command import environment
from tests.support.invoice_files import platform_xml
from tests.support.pages import Block, blocks_of
from tests.support.programs import Program

_DSN = re.compile(r"postgresql://[^\s\"'?]+")
_AWAITS = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
_UNTIL = re.compile(r'until "(.+)"')
_EXITS = re.compile(r"exits (\d+)")

STAFF = "corp:staff"
INVOICE_ID = "corp:044001900104:40218836"


def fill(directory: Path, box: Sandbox) -> None:
    """Write the invoices that pages send, and let the sandbox hold an invoice and a person that pages name."""
    folder = directory / "发票"
    folder.mkdir()
    for name in ("hotel.pdf", "train.png"):
        content = (resources.files("ekb_async.cli.demo.invoices") / name).read_bytes()
        (directory / name).write_bytes(content)
        (folder / name).write_bytes(content)
    (folder / "公司.xml").write_text(platform_xml(), encoding="utf-8")
    box.vendor.add_staff(id=STAFF, name="张三")
    box.vendor.add_invoice(INVOICE_ID, SampleInvoice(code="044001900104", number="40218836", total=Decimal("10.60")))


class PageRun:
    """The blocks of one page, run one after the other: programs share their names, commands their directory."""

    def __init__(self, page: Path, box: Sandbox, directory: Path, dsn: str | None) -> None:
        self._page = page
        self._box = box
        self._directory = directory
        self._dsn = dsn
        self._names: dict[str, Any] = {
            "__name__": "page",
            "file": directory / "hotel.pdf",
            "files": [directory / "hotel.pdf", directory / "train.png"],
            "invoice_ids": [INVOICE_ID],
        }
        self._running: list[Program] = []

    async def run(self) -> None:
        """Run all blocks, and stop the commands that still run."""
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self._stop)
            for block in blocks_of(self._page):
                if block.directive is not None and block.directive.startswith("tests/"):
                    continue
                try:
                    await self._run_block(block)
                except BaseException as error:
                    error.add_note(f"in the block of {self._page}:{block.line}")
                    raise

    async def _run_block(self, block: Block) -> None:
        text = self._with_own_values(block.text)
        block.write_to(self._directory, text)
        match block.language:
            case "python" if block.title is None:
                await self._run_python(text, block.line)
            case "sh" if block.title is None:
                await self._run_commands(text, block.directive or "")
            case "json":
                json.loads(text)
            case "toml":
                tomllib.loads(text)
            case "yaml":
                list(yaml.safe_load_all(text))
            case "python" | "sh" | "text" | "csv" | "ini" | "sql" | "dockerfile":
                pass
            case other:
                raise AssertionError(f"nothing runs a block of the language {other!r}")

    def _with_own_values(self, text: str) -> str:
        keys = self._box.credentials
        text = text.replace("https://app.ekuaibao.com", self._box.base_url)
        text = re.sub(r'(?<=app_key=)"…"', repr(keys.app_key), text)
        text = re.sub(r'(?<=app_security=)"…"', repr(keys.app_security), text)
        text = text.replace("EKB_APP_KEY=…", f"EKB_APP_KEY={keys.app_key}")
        text = text.replace("EKB_APP_SECURITY=…", f"EKB_APP_SECURITY={keys.app_security}")
        if "postgresql://" in text:
            assert self._dsn is not None, "mark the page as one that needs a database, in test_pages.py"
            dsn = self._dsn
            text = _DSN.sub(lambda _: dsn, text)
        return text

    async def _run_python(self, text: str, line: int) -> None:
        code = compile("\n" * line + text, str(self._page), "exec", flags=_AWAITS, dont_inherit=True)
        if "asyncio.run(" in text:
            await asyncio.to_thread(exec, code, self._names)
            return
        waiting = eval(code, self._names)  # noqa: S307 - the page's own
        if waiting is not None:
            await waiting

    async def _run_commands(self, text: str, directive: str) -> None:
        process = await asyncio.create_subprocess_exec(
            "bash",
            *("-euo", "pipefail", "-c", text),
            cwd=self._directory,
            env=self._environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        self._running.append(program := Program(process))
        if until := _UNTIL.fullmatch(directive):
            await program.has_printed(until[1])
            return
        await process.wait()
        exits = _EXITS.fullmatch(directive)
        assert await program.ended() == (int(exits[1]) if exits else 0), program.printed

    async def _stop(self) -> None:
        for program in self._running:
            if program.process.returncode is None:
                # The commands of a block are one session, as those of a terminal are.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(program.process.pid, signal.SIGINT)
            await program.ended()

    def _environment(self) -> dict[str, str]:
        variables = environment(self._box)
        variables["PATH"] = f"{Path(sys.executable).parent}:{variables['PATH']}"
        variables["EKB_LANG"] = "zh" if "/zh/" in str(self._page) or "zh-CN" in self._page.name else "en"
        return variables
