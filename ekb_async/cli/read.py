"""`ekb read`: what invoice files say about themselves, a line of JSON per invoice; no account, no network."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import closing
from pathlib import Path
from typing import Annotated, NoReturn

import msgspec
import typer

from ekb_async.cli.language import texts
from ekb_async.cli.output import need_output, readable
from ekb_async.cli.progress import Display, display
from ekb_async.cli.runner import ExitStatus, finish
from ekb_async.einvoice import EInvoice, read_many
from ekb_async.errors import ConfigError

Files = Annotated[
    list[str], typer.Argument(metavar="FILE", help="An XML, OFD or PDF file, a picture, or a ZIP archive of them.")
]

_RAR = b"Rar!"


def read(files: Files) -> None:
    """Read what invoice files say about themselves. Nothing is sent, verified or billed.

    A line of JSON is written for each invoice. A file without an invoice is named on standard error, and the exit
    status is then 1.
    """
    finish(_read(files))


async def _read(files: list[str]) -> ExitStatus:
    """Read the files, each once, and write the lines. The loop has nothing else to do, so that it may be blocked."""
    need_output()
    paths = [_checked(text) for text in dict.fromkeys(files)]
    _interrupt_at_once()
    found = 0
    with (
        display(texts.word("progress", "read")) as screen,
        closing(read_many(paths, processes=min(len(paths), os.cpu_count() or 1))) as results,
    ):
        screen.update(done=0, failed=0, total=len(paths))
        for done, (path, invoices) in enumerate(results, 1):
            found += bool(invoices)
            _write(screen, path, invoices)
            screen.update(done=done, failed=done - found, total=len(paths))
    return ExitStatus.OK if found == len(paths) else ExitStatus.SOME_FAILED


def _checked(text: str) -> str:
    path = Path(text)
    if not path.is_file():
        raise ConfigError(
            f"{readable(text)}: this is not a file" if path.exists() else f"{readable(text)}: no such file"
        )
    return text


def _write(screen: Display, path: str, invoices: list[EInvoice]) -> None:
    for invoice in invoices:
        screen.write(msgspec.json.encode({"input": readable(path), **invoice.to_dict()}))
    if not invoices:
        with Path(path).open("rb") as file:
            is_rar = file.read(len(_RAR)) == _RAR
        if is_rar:
            screen.say(texts("{file}: RAR archives cannot be read", file=readable(path)))
        else:
            screen.say(texts("{file}: no invoice was found in it", file=readable(path)))


def _interrupt_at_once() -> None:
    """Let an interruption end the wait for a file, rather than wait for the loop."""
    if threading.current_thread() is threading.main_thread():
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, _interrupt)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt
