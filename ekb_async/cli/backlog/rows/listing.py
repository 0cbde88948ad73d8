"""`ekb backlog list`: rows of a backlog on a terminal, however narrow.

A row takes one line for what it is and indented ones for its invoice, its error, its warning and the row whose call it
shares. On a terminal, lines are cut at its width; texts from files and from the vendor are cut and masked, and their
control characters are replaced.
"""

from __future__ import annotations

import shutil
import sys
import unicodedata
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
import typer
from rich.cells import cell_len, set_cell_size

from ekb_async.backlog import Backlog, Task
from ekb_async.backlog.results.found import found_in
from ekb_async.backlog.results.names import Names
from ekb_async.cli.backlog.moments import past_moment
from ekb_async.cli.backlog.options import AsJson, Database, Kind, Ref, Since, State, Tenant, existing
from ekb_async.cli.language import texts
from ekb_async.cli.limits import LIMITS
from ekb_async.cli.location import Location
from ekb_async.cli.output import need_output, utf8_argument, write_line
from ekb_async.cli.runner import ExitStatus
from ekb_async.errors import ConfigError
from ekb_async.models.files import is_url
from ekb_async.redaction.masking import MASK, redact
from ekb_async.redaction.signed_urls import URL_USER, without_signature

StateOption = Annotated[State | None, typer.Option("--state", help="Only rows in this state.")]
KindOption = Annotated[Kind | None, typer.Option("--kind", help="Only rows of this kind.")]
FileOption = Annotated[
    str | None, typer.Option("--file", metavar="TEXT", help="Only rows with this text in their file or invoice ID.")
]
Warned = Annotated[bool, typer.Option("--warnings", help="Only rows with a warning.")]
Limit = Annotated[int, typer.Option("--limit", metavar="N", min=0, help="Show so many rows at most.")]

_NUMBER_WIDTH, _INVOICE_WIDTH, _TOTAL_WIDTH = 7, 21, 12
"""Columns of the number of a row, of code and number of an invoice, and of its amount."""
_INDENT = " " * (_NUMBER_WIDTH + 1)


async def list_rows(
    db: Database,
    state: StateOption = None,
    kind: KindOption = None,
    file: FileOption = None,
    ref: Ref = None,
    tenant: Tenant = None,
    since: Since = None,
    warnings: Warned = False,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> ExitStatus:
    """List rows: number, state, kind, file, invoice, and why a row failed or needs a look."""
    need_output()
    if file is not None and not file:
        raise ConfigError("--file must not be empty")
    selected: dict[str, Any] = {
        "state": state,
        "kind": kind,
        "file": file and utf8_argument(file),
        "ref": None if ref is None else utf8_argument(ref),
        "tenant": None if tenant is None else utf8_argument(tenant),
        "since": None if since is None else past_moment("--since", since),
        "warned": warnings,
    }
    async with existing(Location(db)) as backlog:
        total = await backlog.count(**selected)
        tasks = await _first(backlog, selected, limit)
    if as_json:
        write_line(msgspec.json.encode({"rows": list(map(_described, tasks)), "total": total}))
        return ExitStatus.OK
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    layout = _Layout(width)
    lines = [line for task in tasks for line in layout.lines(task)]
    sys.stdout.write("".join(f"{line}\n" for line in (*lines, _counted(len(tasks), total))))
    return ExitStatus.OK


def _counted(shown: int, total: int) -> str:
    if shown < total:
        return texts("{count:,} row of {total:,}", "{count:,} rows of {total:,}", count=shown, total=total)
    return texts("{count:,} row", "{count:,} rows", count=shown)


async def _first(backlog: Backlog, selected: dict[str, Any], limit: int) -> list[Task]:
    tasks: list[Task] = []
    if limit:
        async for task in backlog.results(**selected):
            tasks.append(task)
            if len(tasks) == limit:
                break
    return tasks


def _described(task: Task) -> dict[str, Any]:
    """Return what the list shows of a row, as JSON values; without its answer, which an export has."""
    left_out = {"result", "raw"}
    values = {name: value for name, value in msgspec.structs.asdict(task).items() if name not in left_out}
    values["error"] = Names(texts.lang).error(task)
    for name in ("hint", "warning"):
        values[name] = values[name] and texts.rendered(values[name])
    return {**values, "invoices": list(_invoices(task))}


def _invoices(task: Task) -> Iterator[dict[str, Any]]:
    """Yield number, date and total of the invoices in the answer, or else of those that the row or its file names."""
    for found in found_in(task):
        values = {
            "code": found.invoice_code,
            "number": found.invoice_number,
            "date": found.invoice_date,
            "total": found.total,
        }
        if any(value not in {None, ""} for value in values.values()):
            yield values


class _Layout:
    """Writes rows in the language of the command, for a terminal of some width, None = not for a terminal."""

    def __init__(self, width: int | None) -> None:
        self._width = width
        self._names = Names(texts.lang)
        self._state_width = max(cell_len(self._state(state)) for state in State)

    def lines(self, task: Task) -> Iterator[str]:
        for line in self._all(task):
            yield _cut(line, self._width)

    def _all(self, task: Task) -> Iterator[str]:
        state = set_cell_size(self._state(task.state), self._state_width)
        kind = self._names.call(task.kind) if texts.lang == "zh" else task.kind
        yield f"{task.id:>{_NUMBER_WIDTH}} {state} {kind} {_name(task)}".rstrip()
        for invoice in _invoices(task):
            yield from self._invoice(invoice)
        for line in filter(None, (*self._relations(task), *self._troubles(task))):
            yield _INDENT + line

    def _state(self, state: str) -> str:
        return self._names.state(state) if texts.lang == "zh" else state

    def _invoice(self, invoice: dict[str, Any]) -> Iterator[str]:
        """Yield number, date and amount in columns, on two lines if the terminal is narrow."""
        number = _shown("-".join(filter(None, (invoice["code"], invoice["number"]))))
        total = "" if invoice["total"] is None else f"{invoice['total']:,.2f}"
        rest = f"{invoice['date'] or ''!s:<10}  {total:>{_TOTAL_WIDTH}}".rstrip()
        line = f"{_INDENT}{number:<{_INVOICE_WIDTH}}  {rest}".rstrip()
        if self._width is None or cell_len(line) <= self._width:
            yield line
        else:
            yield from (_INDENT + each for each in (number, rest) if each)

    def _relations(self, task: Task) -> Iterator[str]:
        if task.shared_by == "invoice":
            yield texts("shares the call of {row}: another file of the same invoice", row=task.shared_with)
        elif task.shared_with is not None:
            yield texts("shares the call of {row}: the same file or ID", row=task.shared_with)
        if task.same_as not in {None, task.id, task.shared_with}:
            yield texts("the answer has the invoice of {row}", row=task.same_as)

    def _troubles(self, task: Task) -> Iterator[str]:
        if task.error_type is not None:
            yield texts("failed: {reason}", reason=_shown(self._names.reason(task)))
            yield _shown(self._names.advice(task.error_type, task.hint))
        if task.warning:
            yield texts("warning: {text}", text=_shown(texts.rendered(task.warning)))


def _name(task: Task) -> str:
    """Return the file or ID of a row. A URL is without its signature, and a path is as harmless as it is."""
    if is_url(task.file):
        return _harmless(URL_USER.sub(f"{MASK}@", without_signature(task.file)))
    return _harmless(task.file or task.invoice_id or task.ref)


def _shown(text: str) -> str:
    """Return a text on one line, cut, without secrets and without characters that would act on a terminal."""
    return _harmless(redact(text, max_characters=LIMITS.listed_characters))


def _harmless(text: str) -> str:
    """Return a text on one line, cut, without characters that would act on a terminal."""
    line = " ".join(text[: LIMITS.listed_characters].split())
    return "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(each) in {"Cc", "Cf"} else each for each in line)


def _cut(line: str, width: int | None) -> str:
    """Return a line cut at the width of a terminal, on which a Chinese character takes two columns."""
    if width is None or cell_len(line) <= width:
        return line
    return f"{set_cell_size(line, max(width - 1, 1)).rstrip()}…"
