"""Pages of backlogs whose rows have any answer, and what a browser finds on them.

The rows are added as usual, and their answers are then written into the file: millions of answers, hostile ones and
those of last year come from no sandbox.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from ekb_async.backlog import Backlog, Row
from ekb_async.backlog.store.sqlite.store import SqliteStore
from ekb_async.models.wire.coerce import CHINA
from ekb_async.sandbox.vendor.invoices import SampleInvoice
from ekb_async.sandbox.vendor.invoices.answers import ocr_answer, verify_answer

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=CHINA)
_VOID = {"meta", "br", "link", "img", "input"}


class Given(NamedTuple):
    """A row and the state of its call. Rows with the same `file` share a call; `changed` alters the vendor's answer."""

    invoices: tuple[SampleInvoice, ...] = ()
    kind: str = "verify"
    state: str = "done"
    file: str = ""
    staff_id: str = "corp:staff"
    ref: str = ""
    tenant: str = ""
    error_type: str = ""
    error: str = ""
    hint: str = ""
    attempts: int = 1
    maybe_billed: int = 0
    ended_at: datetime = NOW
    answer: bytes | None = None
    """Stored in place of an answer with the invoices."""
    currency: str | None = ""
    """The currency of all amounts: "" for yuan, None for none."""

    @property
    def stored(self) -> bytes | None:
        """What is stored as the answer."""
        if self.state != "done" or self.answer is not None:
            return self.answer
        invoices = list(self.invoices)
        found = ocr_answer(invoices) if self.kind == "ocr" else verify_answer(invoices, "corp", self.staff_id, 0)
        text = msgspec.json.encode(found)
        if self.currency == "":
            return text
        code = msgspec.json.encode(self.currency)
        return text.replace(b'"CNY"', code).replace(b'"156"', b"null")


def invoice(number: str = "1", **values: Any) -> SampleInvoice:
    """Return a train ticket."""
    return SampleInvoice(**{"kind": "train", "number": number, **values})


def failed(error_type: str, error: str, hint: str = "", **values: Any) -> Given:
    """Return a row that failed."""
    return Given(state="failed", error_type=error_type, error=error, hint=hint, **values)


@asynccontextmanager
async def backlog_of(directory: Path, *given: Given) -> AsyncIterator[Backlog]:
    """Open a backlog with these rows."""
    async with Backlog.open(directory / "b.sqlite") as backlog:
        await backlog.add(
            Row(
                kind=each.kind,
                file="" if each.kind == "url" else each.file or f"https://files.example/{index}.png",
                invoice_id=f"corp:1:{index}" if each.kind == "url" else "",
                staff_id="corp:staff" if each.kind == "verify" else "",
                ref=each.ref,
                tenant=each.tenant,
            )
            for index, each in enumerate(given)
        )
        values = [
            {**each._asdict(), "result": each.stored, "ended_at": each.ended_at.timestamp(), "row": index}
            for index, each in enumerate(given, 1)
        ]
        store = backlog._store
        assert isinstance(store, SqliteStore)
        for statement in (_ANSWER, _STAFF):
            bound = [_bindable(each) for each in values]
            await store._worker.call(store._file.database.executemany, statement, bound)
        yield backlog


_ANSWER = """
UPDATE calls SET state = :state, result = :result, error_type = :error_type, error = :error, hint = :hint,
    attempts = :attempts, maybe_billed = :maybe_billed,
    ended_at = CASE :state WHEN 'pending' THEN NULL ELSE :ended_at END
WHERE id = (SELECT call_id FROM rows WHERE id = :row)
"""
_STAFF = "UPDATE rows SET staff_id = :staff_id WHERE id = :row AND staff_id != ''"
"""Former versions kept any text as a staff ID."""


def _bindable(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if isinstance(value, str | bytes | int | float | None)}


async def page_of(directory: Path, *given: Given, lang: str = "en", title: str | None = None) -> str:
    """Return the page of a backlog with these rows."""
    async with backlog_of(directory, *given) as backlog:
        return await written_page(backlog, directory, lang=lang, title=title)


async def written_page(backlog: Backlog, directory: Path, *, lang: str = "en", title: str | None = None) -> str:
    """Return the page of a backlog."""
    path = directory / "page.html"
    await backlog.report(path, lang=lang, title=title)
    return path.read_text(encoding="utf-8")


class Document(HTMLParser):
    """The page as a browser parses it: elements must be closed; tables become lists of lines of cells."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.headings: list[tuple[str, str]] = []
        self._rows: list[list[str]] = []
        self.caption = ""
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in _VOID:
            self.open.append(tag)
        if tag == "table":
            self._rows, self.caption = [], ""
        elif tag == "tr":
            self._rows.append([])
        elif tag in {"th", "td"}:
            self._rows[-1].append("")
        elif tag in {"h1", "h2", "h3"}:
            self.headings.append((tag, ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag == "table":
            self.tables[self.caption] = self._rows

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.text += data
        if "caption" in self.open:
            self.caption += data
        elif {"th", "td"} & set(self.open):
            self._rows[-1][-1] += data
        elif self.open and self.open[-1] in {"h1", "h2", "h3", "bdi"} and self.headings:
            tag, text = self.headings[-1]
            if tag in self.open:
                self.headings[-1] = tag, text + data


def cards(html: str) -> dict[str, str]:
    """Return the headline figures of a page by name."""
    found = re.findall(r"<dt>(?:<a[^>]*>)?([^<]*)(?:</a>)?</dt><dd>([^<]*)", html)
    return dict(found)


def drawings(html: str) -> dict[str, ET.Element]:
    """Return the charts of a page by name."""
    found = [ET.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL)]  # noqa: S314 - our own
    named = [svg for svg in found if "aria-labelledby" in svg.attrib]
    return {svg.attrib["aria-labelledby"].split("-title")[0]: svg for svg in named}
