"""`ekb ocr`, `ekb verify`, `ekb urls` and `ekb details`: one line of JSON per input, as the results arrive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import aclosing
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from ekb_async import EkbSession, LocalFile, Outcome
from ekb_async.cli.language import texts
from ekb_async.cli.output import need_output, readable, utf8_argument
from ekb_async.cli.progress import Display, display
from ekb_async.cli.runner import ExitStatus, finish, hint_of, is_hopeless, message_of
from ekb_async.cli.sessions import open_session
from ekb_async.errors import ConfigError, EkbError
from ekb_async.models.files import InvoiceFile, has_host, is_url, parse_attachment
from ekb_async.redaction.masking import redact
from ekb_async.redaction.signed_urls import without_signature

Lookup = Callable[[str], Awaitable[Any]]
Outcomes = AsyncGenerator[Outcome[Any, Any], None]

Files = Annotated[list[str], typer.Argument(metavar="FILE", help="A path, an http(s) URL, or attachment:<id>:<key>.")]
InvoiceIds = Annotated[list[str], typer.Argument(metavar="ID", help="An invoice ID, such as corp:code:number.")]
StaffId = Annotated[
    str,
    typer.Option(
        metavar="ID",
        help="The active staff member who gets the invoices: the ID, such as corp:staff, an e-mail address,"
        " phone:NUMBER or code:NUMBER.",
    ),
]


def ocr(files: Files) -> None:
    """Recognise invoices in images and PDFs. Every call is billed."""
    finish(_call(texts.word("progress", "ocr"), map(_file, files), lambda ekb, given: ekb.ocr_many(given)))


def verify(files: Files, staff_id: StaffId) -> None:
    """Recognise invoices and verify them with the tax authority. Every call is billed."""
    finish(_verify(files, staff_id))


async def _verify(files: list[str], staff_id: str) -> ExitStatus:
    from ekb_async.cli.people import person_argument

    person = person_argument(staff_id)
    title = texts.word("progress", "verify")
    return await _call(title, map(_file, files), lambda ekb, given: _verified(ekb, given, person))


def urls(invoice_ids: InvoiceIds) -> None:
    """Print the download URLs of invoice files. They are valid for an hour."""
    finish(
        _call(
            texts.word("progress", "urls"),
            map(_invoice_id, invoice_ids),
            lambda ekb, ids: _looked_up(ekb.invoice_url, ids),
        )
    )


def details(invoice_ids: InvoiceIds) -> None:
    """Print the lines of invoices."""
    finish(
        _call(
            texts.word("progress", "details"),
            map(_invoice_id, invoice_ids),
            lambda ekb, ids: _looked_up(ekb.invoice_details, ids),
        )
    )


async def _call(
    title: str, inputs: Iterable[tuple[Any, str]], call: Callable[[EkbSession, list[Any]], Outcomes]
) -> ExitStatus:
    """Make a call for every input, given with the text to echo, and write a line for each text."""
    need_output()
    asked: dict[Any, list[str]] = {}
    for wanted, echo in inputs:
        asked.setdefault(wanted, []).append(echo)
    async with open_session() as ekb:
        return await _report(title, asked, call(ekb, list(asked)))


def _invoice_id(text: str) -> tuple[str, str]:
    invoice_id = utf8_argument(text)
    if not invoice_id.strip():
        raise ConfigError("an invoice ID is empty")
    return invoice_id, invoice_id


def _file(text: str) -> tuple[InvoiceFile, str]:
    """Return the file that an argument stands for, and the text to echo.

    Raises `ConfigError` for a wrong argument, before any call is paid.
    """
    if is_url(text) or parse_attachment(text):
        text = utf8_argument(text)
        if attachment := parse_attachment(text):
            return attachment, text
        if not has_host(text):
            raise ConfigError(f"{redact(text)}: this URL cannot be read")
        return text, without_signature(text)
    path = Path(text)
    if not path.is_file():
        raise ConfigError(
            f"{readable(text)}: this is not a file" if path.exists() else f"{readable(text)}: no such file"
        )
    return LocalFile(path), readable(text)


async def _verified(ekb: EkbSession, given: list[Any], person: str) -> Outcomes:
    """Look up the ID of the person, which is free, unless it was given; then verify the files."""
    # Of a backlog, which no other command here needs.
    from ekb_async.backlog.run.before.people import People

    staff_id = await People().id_of(ekb, "", person)
    async with aclosing(ekb.verify_many(given, staff_id=staff_id)) as outcomes:
        async for outcome in outcomes:
            yield outcome


async def _looked_up(call: Lookup, ids: Iterable[str]) -> Outcomes:
    """Look up all IDs at once, so that the session puts them into few requests."""

    async def outcome(invoice_id: str) -> Outcome[Any, Any]:
        try:
            return Outcome(input=invoice_id, result=await call(invoice_id))
        except EkbError as error:
            return Outcome(input=invoice_id, error=error)

    tasks = [asyncio.create_task(outcome(invoice_id)) for invoice_id in ids]
    try:
        for finished in asyncio.as_completed(tasks):
            yield await finished
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _report(title: str, asked: dict[Any, list[str]], outcomes: Outcomes) -> ExitStatus:
    """Write a line for every input; `asked` has the arguments by which each input was given."""
    status, done, failed = ExitStatus.OK, 0, 0
    hints: set[str] = set()
    with display(title) as screen:
        screen.update(done=0, failed=0, total=len(asked))
        try:
            async for outcome in outcomes:
                done += 1
                if outcome.error is not None:
                    failed += 1
                    status = max(status, ExitStatus.HOPELESS if is_hopeless(outcome.error) else ExitStatus.SOME_FAILED)
                    _explain(screen, asked[outcome.input], outcome.error, hints)
                _write(screen, asked[outcome.input], outcome)
                screen.update(done=done, failed=failed, total=len(asked))
        finally:
            await outcomes.aclose()
    return status


def _explain(screen: Display, inputs: list[str], error: Exception, hints: set[str]) -> None:
    """Say what failed and why; the same hint is given once."""
    for each in inputs:
        screen.say(texts("{input}: {reason}", input=each, reason=message_of(error).removeprefix(f"{Path(each).name} ")))
    if (hint := hint_of(error)) and hint not in hints:
        hints.add(hint)
        screen.say(f"     {hint}")


def _write(screen: Display, inputs: list[str], outcome: Outcome[Any, Any]) -> None:
    answer: dict[str, object]
    if outcome.error is None:
        answer = {"result": _plain(outcome.result)}
    else:
        error = outcome.error
        answer = {"error": {"class": type(error).__name__, "message": message_of(error), "hint": hint_of(error)}}
    for each in inputs:
        screen.write(msgspec.json.encode({"input": each, **answer}))


def _plain(result: Any) -> object:
    return [part.to_dict() for part in result] if isinstance(result, list) else result.to_dict()
