"""Document codes become rows of the documents' invoices."""

from __future__ import annotations

from pathlib import Path

import pytest

from ekb_async import EkbSession
from ekb_async.backlog import Backlog
from ekb_async.errors import ConfigError, EkbError
from ekb_async.sandbox import Sandbox
from ekb_async.sandbox.faults import Fault
from tests.support.backlog_stores import Location
from tests.support.backlogs import all_tasks, session


def codes(directory: Path, *lines: str) -> Path:
    path = directory / "codes.txt"
    path.write_text("\ufeff" + "\r\n".join(lines), encoding="utf-8")
    return path


@pytest.fixture
def box_with_flows(quick_box: Sandbox) -> Sandbox:
    """Return a sandbox with 250 documents of one invoice each and one document of two."""
    for number in range(250):
        quick_box.vendor.add_flow(code=f"B{number:08}", flow_id=f"F{number}", invoice_ids=[f"corp:1:{number:08}"])
    quick_box.vendor.add_flow(code="B99999999", flow_id="F", invoice_ids=["corp:1:00000001", "corp:2:1"])
    return quick_box


async def test_invoices_of_documents(tmp_path: Path, place: Location, box_with_flows: Sandbox, ekb: EkbSession) -> None:
    """Each invoice is a row with the document's code as its reference; codes without invoices are reported."""
    listed = codes(tmp_path, *(f"B{number:08}" for number in range(250)), "", " B99999999 ", "unknown")
    async with Backlog.open(place) as backlog:
        report = await backlog.add_flows(ekb, listed, kinds=["url", "detail"])
        assert (report.added, report.duplicates, report.missing) == (502, 2, ("unknown",))
        assert (await backlog.run(ekb)).counts["done"] == 504
        tasks = await all_tasks(backlog)
    assert [(task.kind, task.ref, task.invoice_id, task.line) for task in tasks[-4:]] == [
        ("url", "B99999999", "corp:1:00000001", 252),
        ("detail", "B99999999", "corp:1:00000001", 252),
        ("url", "B99999999", "corp:2:1", 252),
        ("detail", "B99999999", "corp:2:1", 252),
    ]
    assert {task.manifest for task in tasks} == {str(listed)}
    assert box_with_flows.count("flow_invoices") == 3


@pytest.mark.parametrize("kind", ["ocr", "verify", "other"])
async def test_kinds_without_an_invoice_id_are_refused(
    tmp_path: Path, place: Location, ekb: EkbSession, kind: str
) -> None:
    """Kinds that need a file are refused for documents."""
    async with Backlog.open(place) as backlog:
        with pytest.raises(ConfigError, match="kind must be one of"):
            await backlog.add_flows(ekb, codes(tmp_path, "B1"), kinds=[kind])


async def test_all_or_none(tmp_path: Path, place: Location, box_with_flows: Sandbox) -> None:
    """If a request fails for good, nothing from the list is added."""
    box_with_flows.faults.append(Fault.answer(412, calls="flow_invoices"))
    async with Backlog.open(place) as backlog, session(box_with_flows) as ekb:
        with pytest.raises(EkbError):
            await backlog.add_flows(ekb, codes(tmp_path, "B00000001"))
        assert sum((await backlog.counts()).values()) == 0


async def test_a_list_that_cannot_be_read(tmp_path: Path, place: Location, ekb: EkbSession) -> None:
    """A list that is missing or has another encoding is named in the error."""
    other = tmp_path / "gbk.txt"
    other.write_bytes("单据\n".encode("gbk"))
    async with Backlog.open(place) as backlog:
        for path in (tmp_path / "none.txt", other):
            with pytest.raises(ConfigError, match=path.name):
                await backlog.add_flows(ekb, path)


async def test_documents_without_invoices_stand_in_front(
    tmp_path: Path, place: Location, box_with_flows: Sandbox
) -> None:
    """A batch without invoices does not end the list; later batches are added."""
    async with Backlog.open(place) as backlog, session(box_with_flows, batch_size=1) as ekb:
        report = await backlog.add_flows(ekb, codes(tmp_path, "unknown", "B00000001", "other", "B00000002"))
        assert (report.added, report.missing) == (2, ("unknown", "other"))
