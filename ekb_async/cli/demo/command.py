"""`ekb demo`: a backlog of invoice files on a local sandbox, at the vendor's rate, without an account.

It is written like a user's program: a session, a backlog, two manifests. Only the sandbox is special.
"""

from __future__ import annotations

import asyncio
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from ekb_async import EkbSession, SessionConfig
from ekb_async.backlog import Backlog, Progress
from ekb_async.cli.demo import files, report
from ekb_async.cli.language import texts
from ekb_async.cli.limits import LIMITS
from ekb_async.cli.progress import display
from ekb_async.cli.runner import ExitStatus, finish
from ekb_async.sandbox import Sandbox

Directory = Annotated[Path, typer.Option(help="Folder for the files. It is created if it does not exist.")]


def demo(directory: Directory = Path("ekb-demo")) -> None:
    """Recognise and verify a sample backlog on this machine. No account is needed."""
    finish(_demo(directory))


async def _demo(directory: Path) -> ExitStatus:
    began = time.monotonic()
    await asyncio.to_thread(files.make_directory, directory)
    report.introduce(directory)
    async with (
        Sandbox(latency=LIMITS.demo_latency_seconds, recognises=files.recognised(), staff={files.STAFF_ID}) as box,
        EkbSession(box.credentials, base_url=box.base_url, config=SessionConfig(max_tries=2)) as ekb,
        Backlog.open(directory / files.BACKLOG) as backlog,
    ):
        await _work(directory / files.MANIFEST, texts("OCR and verification"), backlog, ekb)
        rows = [row async for row in backlog.results()]
        verified = [row.result["invoices"] for row in rows if row.kind == "verify" and row.state == "done"]
        ids = dict.fromkeys(invoice["id"] for invoices in verified for invoice in invoices)
        await asyncio.to_thread(files.write_lookups, directory, ids)
        await _work(directory / files.LOOKUPS, texts("file URLs and lines"), backlog, ekb)
        for name in files.RESULTS:
            await backlog.export(directory / name, lang=texts.lang)
        if has_page := find_spec("jinja2") is not None:  # of the extra `report`
            await backlog.report(directory / files.REPORT, lang=texts.lang)
        rows = [row async for row in backlog.results()]
        stats, paid = ekb.stats(), (await backlog.accounting()).calls
    report.show_invoices(rows)
    report.conclude(directory, rows, stats, paid, time.monotonic() - began, has_page=has_page)
    return ExitStatus.OK


async def _work(manifest: Path, title: str, backlog: Backlog, ekb: EkbSession) -> None:
    before = await backlog.counts()
    added = await backlog.add_manifest(manifest)
    with display(title, stays=True) as screen:

        def show(now: Progress) -> None:
            done = now.done - before["done"] - before["failed"]
            failed = now.counts["failed"] - before["failed"]
            screen.update(done=done, failed=failed, total=added.added + added.duplicates)

        await backlog.run(ekb, progress=show)
