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
from ekb_async.cli.backlog.options import AsJson, Database, Kind, State, existing
from ekb_async.cli.limits import LIMITS
from ekb_async.cli.location import Location
from ekb_async.cli.output import counted, need_output, utf8_argument, write_line
from ekb_async.cli.runner import ExitStatus
from ekb_async.errors import ConfigError
from ekb_async.redaction.masking import redact

StateOption = Annotated[State | None, typer.Option("--state", help="Only rows in this state.")]
KindOption = Annotated[Kind | None, typer.Option("--kind", help="Only rows of this kind.")]
FileOption = Annotated[
    str | None, typer.Option("--file", metavar="TEXT", help="Only rows with this text in their file or invoice ID.")
]
RefOption = Annotated[str | None, typer.Option("--ref", metavar="TEXT", help="Only rows with this reference.")]
Warned = Annotated[bool, typer.Option("--warnings", help="Only rows with a warning.")]
Limit = Annotated[int, typer.Option("--limit", metavar="N", min=0, help="Show so many rows at most.")]

_NUMBER_WIDTH, _STATE_WIDTH = 7, 8
_INDENT = " " * (_NUMBER_WIDTH + 1)


async def list_rows(
    db: Database,
    state: StateOption = None,
    kind: KindOption = None,
    file: FileOption = None,
    ref: RefOption = None,
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
        "warned": warnings,
    }
    async with existing(Location(db)) as backlog:
        total = await backlog.count(**selected)
        tasks = await _first(backlog, selected, limit)
    if as_json:
        write_line(msgspec.json.encode({"rows": list(map(_described, tasks)), "total": total}))
        return ExitStatus.OK
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    lines = [_cut(line, width) for task in tasks for line in _lines(task)]
    shown = f" of {total:,}" if len(tasks) < total else ""
    sys.stdout.write("".join(f"{line}\n" for line in (*lines, f"{counted(len(tasks), 'row')}{shown}")))
    return ExitStatus.OK


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


def _lines(task: Task) -> Iterator[str]:
    name = task.file or task.invoice_id or task.ref
    yield f"{task.id:>{_NUMBER_WIDTH}} {task.state:<{_STATE_WIDTH}} {task.kind} {_shown(name)}".rstrip()
    for invoice in _invoices(task):
        number = "-".join(filter(None, (invoice["code"], invoice["number"])))
        total = "" if invoice["total"] is None else f"{invoice['total']:,}"
        yield _INDENT + "  ".join(filter(None, (_shown(number), str(invoice["date"] or ""), total)))
    if task.shared_with is not None:
        why = "another file of the same invoice" if task.shared_by == "invoice" else "the same file or ID"
        yield f"{_INDENT}shares the call of {task.shared_with}: {why}"
    if task.same_as not in {None, task.id, task.shared_with}:
        yield f"{_INDENT}the answer has the invoice of {task.same_as}"
    if task.error:
        yield f"{_INDENT}failed: {_shown(task.error)}"
    if task.warning:
        yield f"{_INDENT}warning: {_shown(task.warning)}"


def _shown(text: str) -> str:
    """Return a text on one line, cut, without secrets and without characters that would act on a terminal."""
    line = " ".join(redact(text, max_characters=LIMITS.listed_characters).split())
    return "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(each) in {"Cc", "Cf"} else each for each in line)


def _cut(line: str, width: int | None) -> str:
    """Return a line cut at the width of a terminal, on which a Chinese character takes two columns."""
    if width is None or cell_len(line) <= width:
        return line
    return f"{set_cell_size(line, max(width - 1, 1)).rstrip()}…"
