"""`ekb demo`, the first thing a newcomer runs."""

from __future__ import annotations

import csv
import os
import re
from pathlib import Path

import msgspec
import pytest

import ekb_async
from tests.support.command import Finished, ekb, ekb_process


@pytest.fixture
def without_other_extras(tmp_path: Path) -> str:
    """A search path that hides what extras other than `cli` install."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    hook = "import sys\nfor name in ('jinja2', 'markupsafe', 'openpyxl', 'xlsxwriter', 'pyarrow', 'PIL', 'asyncpg'):\n"
    (hidden / "sitecustomize.py").write_text(hook + "    sys.modules[name] = None\n")
    return os.pathsep.join([str(hidden), str(Path(ekb_async.__file__).parents[1])])


def names(directory: Path) -> list[str]:
    """Return the names in a directory."""
    return [path.name for path in directory.iterdir()]


def assert_shown(demo: Finished, directory: Path) -> None:
    """Assert that the demo succeeded and printed what it did."""
    shown = demo.output.decode()
    assert demo.status == 0, demo.messages
    for text in ("25332000000041907731", "2025-03-12", "1,272.00", "Not recognised"):
        assert text in shown
    assert "该发票在单据[B25000318]中已经关联" in "".join(shown.split())
    assert "14 of 14, 2 failed" in demo.messages
    assert str(directory / "results.csv") in shown.replace("\n", "")


@pytest.mark.process
@pytest.mark.slow
async def test_demo_from_files_to_results(tmp_path: Path) -> None:
    """Without an account, invoices go through all four calls into two files of results; running it again works."""
    directory = tmp_path / "demo"
    assert_shown(await ekb_process("demo", "--directory", directory), directory)
    assert_shown(await ekb("demo", "--directory", directory), directory)
    rows = [msgspec.json.decode(line) for line in (directory / "results.jsonl").read_bytes().splitlines()]
    assert {(row["kind"], row["state"]) for row in rows} == {
        ("ocr", "done"),
        ("ocr", "failed"),
        ("verify", "done"),
        ("verify", "failed"),
        ("url", "done"),
        ("detail", "done"),
    }
    with (directory / "results.csv").open(encoding="utf-8-sig", newline="") as file:
        table = list(csv.DictReader(file))
    verified = {row["ref"]: row for row in table if row["kind"] == "verify"}
    assert verified["train.png"]["invoice_number"] == verified["train-again.png"]["invoice_number"] == "K083651"
    assert verified["parking.png"]["usable"] == "false"
    assert sum(row["kind"] == "verify" and row["ref"] == "taxi-and-toll.png" for row in table) == 2


@pytest.mark.process
@pytest.mark.slow
async def test_demo_needs_only_the_extra_of_the_command(tmp_path: Path, without_other_extras: str) -> None:
    """Without the other extras there is no page, and the demo says how to get one."""
    directory = tmp_path / "demo"
    done = await ekb_process("demo", "--directory", directory, PYTHONPATH=without_other_extras)
    assert done.status == 0, done.messages
    assert 'pip install "ekb-async[report]"' in done.output.decode()
    assert "results.csv" in names(directory)
    assert "report.html" not in names(directory)


@pytest.mark.process
async def test_help_needs_only_the_extra_of_the_command(without_other_extras: str) -> None:
    """Without the other extras, the commands and their help are there."""
    done = await ekb_process("backlog", "--help", PYTHONPATH=without_other_extras)
    assert done.status == 0, done.messages
    assert "serve" in done.output.decode()


@pytest.mark.process
@pytest.mark.slow
async def test_demo_counts_billed_calls_as_status_does(tmp_path: Path) -> None:
    """A repeated call that failed is counted too: what the demo says is what `status` says."""
    directory = tmp_path / "demo"
    done = await ekb("demo", "--directory", directory)
    status = await ekb("backlog", "status", directory / "backlog.sqlite")
    [made] = re.findall(r"(\d+) billed calls made", status.output.decode())
    assert re.search(rf"\bwith\s+{made}\s+calls\b", done.output.decode())


async def test_demo_leaves_other_files_alone(tmp_path: Path) -> None:
    """A directory that the demo did not create is refused and left unchanged: status 2."""
    (tmp_path / "results.csv").write_text("mine")
    refused = await ekb("demo", "--directory", tmp_path)
    assert refused.status == 2
    assert "--directory" in refused.messages
    assert names(tmp_path) == ["results.csv"]
