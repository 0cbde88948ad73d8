"""Cells of a CSV export: a spreadsheet shows them unchanged, whatever its separator."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from ekb_async.backlog import Backlog


@pytest.mark.parametrize("ref", ["A;=1+1", "A\t=1+1", "A|@SUM(1)", "A, -1", 'A";=1', "；=1", "=1+1", "A =1", "'"])
async def test_a_cell_that_a_spreadsheet_could_split(tmp_path: Path, ref: str) -> None:
    """A cell with a possible separator is quoted, and is read as it was written."""
    path = tmp_path / "m.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("kind", "invoice_id", "ref"), ("url", "corp:1:2", ref)])
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        await backlog.add_manifest(path)
        await backlog.export(tmp_path / "out.csv")
    text = (tmp_path / "out.csv").read_text(encoding="utf-8-sig")
    kept = f"'{ref}" if ref == "=1+1" else ref
    assert '"{}"'.format(kept.replace('"', '""')) in text
    [row] = csv.DictReader(io.StringIO(text))
    assert row["ref"] == kept
