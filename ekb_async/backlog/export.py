"""Tasks as a file for other programs: JSON Lines with everything, CSV with what a spreadsheet is wanted for.

A spreadsheet that opens a CSV file runs what looks like a formula, so such cells begin with an apostrophe. It also
takes texts of digits for numbers; these stay as they are, since other programs read the file too: import such columns
as text.
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from ekb_async.backlog.tasks import Task
from ekb_async.errors import ConfigError

CSV_COLUMNS = (
    "ref",
    "kind",
    "file",
    "invoice_id",
    "state",
    "attempts",
    "maybe_billed",
    "error_type",
    "error",
    "manifest",
    "line",
    "invoice_kind",
    "invoice_code",
    "invoice_number",
    "invoice_date",
    "total",
    "seller",
    "buyer",
    "verified_id",
    "usable",
    "message",
    "url",
    "url_file_name",
    "detail_lines",
)

_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")
_FORMULA_SIGNS = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
_LATER = {".parquet": "parquet", ".xlsx": "xlsx"}


class Export:
    """A file that is being written; it gets its name when it is whole.

    Raises `ConfigError` for a suffix that is not known or a file that cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._format = _format(path)
        if path.is_dir():
            raise ConfigError(f"{path}: this is a directory")
        self._part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        try:
            self._file = self._part.open("xb")
        except OSError as error:
            raise self._failed(error) from None
        if self._format is _csv_lines:
            self._file.write("\ufeff".encode() + _csv_text([CSV_COLUMNS]))

    def write(self, tasks: Iterable[Task]) -> None:
        """Raises `ConfigError` if the file cannot be written, as `finish` does."""
        try:
            for task in tasks:
                self._file.write(self._format(task))
        except OSError as error:
            raise self._failed(error) from None

    def finish(self) -> None:
        """Gives the file its name, in the place of an older one."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._part.replace(self._path)
        except OSError as error:
            raise self._failed(error) from None

    def close(self) -> None:
        """Leaves nothing behind of a file that was not finished."""
        with contextlib.suppress(OSError):  # a full disk once more
            self._file.close()
        self._part.unlink(missing_ok=True)

    def _failed(self, error: OSError) -> ConfigError:
        return ConfigError(f"{self._path}: the file cannot be written: {error.strerror}")


def _format(path: Path) -> Callable[[Task], bytes]:
    suffix = path.suffix.lower()
    if suffix in _LATER:
        raise ConfigError(
            f"{path}: this version cannot write {suffix}; a later one will, with ekb-async[{_LATER[suffix]}]. "
            "Export to .csv or .jsonl"
        )
    if suffix == ".csv":
        return _csv_lines
    if suffix in {".jsonl", ".ndjson"}:
        return _json_line
    raise ConfigError(f"{path}: an export ends in .jsonl or .csv")


def _json_line(task: Task) -> bytes:
    fields = msgspec.structs.asdict(task)
    if task.raw is not None:
        # No string of JSON has a line break in itself, so this one is a blank between values.
        fields["raw"] = msgspec.Raw(task.raw.replace(b"\r", b" ").replace(b"\n", b" "))
    return msgspec.json.encode(fields) + b"\n"


def _csv_lines(task: Task) -> bytes:
    common = {
        "ref": task.ref,
        "kind": task.kind,
        "file": task.file,
        "invoice_id": task.invoice_id,
        "state": task.state,
        "attempts": task.attempts,
        "maybe_billed": task.maybe_billed,
        "error_type": task.error_type,
        "error": task.error,
        "manifest": task.manifest,
        "line": task.line,
    }
    found = list(_FLATTEN[task.kind](task.result)) if task.result is not None else []
    return _csv_text([_cell((common | each).get(column)) for column in CSV_COLUMNS] for each in found or [{}])


def _csv_text(lines: Iterable[Iterable[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(lines)
    return text.getvalue().encode()


def _cell(value: object) -> str:
    """A cell that a spreadsheet shows as it is."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    if _NUMBER.fullmatch(text):
        return text
    return f"'{text}" if text.lstrip().startswith(_FORMULA_SIGNS) or text.startswith(("\t", "\r")) else text


def _of_ocr(result: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for invoice in result["invoices"]:
        yield {"invoice_kind": invoice["kind"], **_of_invoice(invoice["details"])}


def _of_verify(result: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for invoice in result["invoices"]:
        yield {
            "invoice_kind": invoice["kind"],
            **_of_invoice(invoice["form"]),
            "verified_id": invoice["id"],
            "usable": invoice["usable"],
            "message": invoice["message"],
        }


def _of_invoice(values: dict[str, Any]) -> dict[str, Any]:
    return {
        "invoice_code": values["code"],
        "invoice_number": values["number"],
        "invoice_date": values["date"],
        "total": values["total"],
        "seller": values["seller"],
        "buyer": values["buyer"],
    }


def _of_url(result: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield {"url": result["url"], "url_file_name": result["file_name"]}


def _of_detail(result: list[Any]) -> Iterator[dict[str, Any]]:
    yield {"detail_lines": len(result)}


_FLATTEN: dict[str, Callable[[Any], Iterator[dict[str, Any]]]] = {
    "ocr": _of_ocr,
    "verify": _of_verify,
    "url": _of_url,
    "detail": _of_detail,
}
