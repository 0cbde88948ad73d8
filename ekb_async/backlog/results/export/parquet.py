"""Tasks as a Parquet file, for data analysis.

Columns are typed. Amounts are decimals with six places: more than any currency has, and supported by every reader.
Times are instants. Row groups are small enough to be written and read in little memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from ekb_async.backlog.results.export.columns import Columns, Row, names
from ekb_async.backlog.results.export.lines import FINE, InvoiceLines
from ekb_async.backlog.results.export.rows import TableRows
from ekb_async.backlog.results.found import found_in
from ekb_async.backlog.results.limits import LIMITS
from ekb_async.backlog.results.names import Names
from ekb_async.backlog.results.tasks import Task

_TYPES = {
    str: pa.string(),
    int: pa.int64(),
    bool: pa.bool_(),
    Decimal: pa.decimal128(38, 6),
    date: pa.date32(),
    datetime: pa.timestamp("us", tz="+08:00"),
}
_FINE = pa.decimal128(38, 15)


class ParquetFile:
    """Writes a Parquet file, one row group after another."""

    def __init__(self, file: BinaryIO, lang: str, scratch: Path, columns: Columns) -> None:
        self._table = TableRows(columns, lang)
        types = [_FINE if column.name in FINE else _TYPES[column.type] for column in columns]
        self._schema = pa.schema(list(zip(names(columns, lang), types, strict=True)))
        self._writer = pq.ParquetWriter(file, self._schema)
        self._rows: list[Row] = []

    def write(self, tasks: Iterable[Task]) -> None:
        for task in tasks:
            self._rows += self._rows_of(task)
        if len(self._rows) >= LIMITS.rows_per_parquet_group:
            self._write_group()

    def finish(self) -> None:
        if self._rows:
            self._write_group()
        self._writer.close()

    def close(self) -> None:
        self._writer.close()

    def _rows_of(self, task: Task) -> Iterable[Row]:
        return self._table.of(task)

    def _write_group(self) -> None:
        values = zip(*self._rows, strict=True)
        columns = [_array(column, field.type) for column, field in zip(values, self._schema, strict=True)]
        self._writer.write_table(pa.Table.from_arrays(columns, schema=self._schema))
        self._rows.clear()


class ParquetInvoiceLines(ParquetFile):
    """Writes the lines of invoices."""

    def __init__(self, file: BinaryIO, lang: str, scratch: Path, columns: Columns) -> None:
        super().__init__(file, lang, scratch, columns)
        self._invoice_lines = InvoiceLines(columns, Names(lang))

    def _rows_of(self, task: Task) -> Iterable[Row]:
        return self._invoice_lines.of(task, found_in(task))


def _array(values: tuple[Any, ...], kind: Any) -> Any:
    if pa.types.is_decimal(kind):
        places = Decimal(1).scaleb(-kind.scale)
        return pa.array([None if value is None else value.quantize(places) for value in values], kind)
    return pa.array(values, kind)
