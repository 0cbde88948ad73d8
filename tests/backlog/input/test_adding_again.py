"""A manifest that is added again, or with more rows: rows that are present are not added a second time."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from ekb_async import EkbSession
from ekb_async.backlog import AddReport, Backlog
from ekb_async.sandbox import Sandbox
from ekb_async.sandbox.vendor.exchange import VendorReply, VendorRequest
from tests.support.backlog_stores import Location
from tests.support.backlogs import all_tasks, manifest, picture, session

SIGNED = "https://files.example/a.png?Expires=1700000000&Signature="


def kinds_of_rows(directory: Path) -> list[str]:
    """Return rows of every kind, with and without references, some of them equal and some sharing a call."""
    return [
        f"ocr,{picture(directory, 'a.png')},,,,",
        f"ocr,{picture(directory, 'b.png')},,,,7",
        "ocr,b.png,,,,8",
        "verify,a.png,,corp:staff,,",
        "verify,a.png,,corp:other,,",
        "ocr,attachment:ID1:key,,,,",
        "url,,corp:1:2,,,",
        "url,,corp:1:2,,,",
        "detail,,corp:1:2,,,x",
        "download,,corp:1:2,,,x",
    ]


async def test_the_same_rows_again(tmp_path: Path, place: Location) -> None:
    """Adding a manifest or a copy of it again adds no row; each row is reported as present."""
    rows = kinds_of_rows(tmp_path)
    async with Backlog.open(place) as backlog:
        path = manifest(tmp_path, *rows)
        assert await backlog.add_manifest(path) == AddReport(added=7, duplicates=3)
        before = await all_tasks(backlog)
        for again in (path, path, manifest(tmp_path, *reversed(rows), name="copy.csv")):
            assert await backlog.add_manifest(again) == AddReport(added=0, duplicates=10, present=10)
        after = await all_tasks(backlog)
    assert [(task.id, task.ref, task.kind) for task in after] == [(task.id, task.ref, task.kind) for task in before]
    assert len(after) == 10


@pytest.mark.realtime
@pytest.mark.slow
async def test_many_rows_of_another_manifest(tmp_path: Path) -> None:
    """Matching many rows of a manifest with another name takes about as long as with the same name."""
    rows = [f"url,,corp:{number}:2,,," for number in range(12_000)]
    seconds = []
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        for name in ("m.csv", "m.csv", "copy.csv"):
            path = manifest(tmp_path, *rows, name=name)
            before = time.process_time()
            report = await backlog.add_manifest(path)
            seconds.append(time.process_time() - before)
    assert report == AddReport(added=0, duplicates=12_000, present=12_000)
    assert seconds[2] < 4 * seconds[1]


async def test_a_longer_manifest(tmp_path: Path, place: Location) -> None:
    """Only new rows are added, wherever they are, also a second copy of a row that was there once."""
    rows = [f"url,,corp:1:{number},,,{number}" for number in range(305)]
    new = ["url,,corp:1:900,,,900", "url,,corp:1:7,,,7", "url,,corp:1:7,,,another"]
    async with Backlog.open(place) as backlog:
        await backlog.add_manifest(manifest(tmp_path, *rows))
        report = await backlog.add_manifest(manifest(tmp_path, new[0], *rows, *new[1:]))
        assert report == AddReport(added=1, duplicates=307, present=305)
        assert [task.ref for task in await all_tasks(backlog)][305:] == ["900", "7", "another"]


async def test_what_has_failed_is_not_made_again(
    tmp_path: Path, place: Location, quick_box: Sandbox, ekb: EkbSession
) -> None:
    """A failed or done row that is added again is unchanged and nothing is sent; `retry` repeats failed ones."""
    rows = ["ocr,attachment:ID01no:a.png,,,,", "ocr,https://f.example/b.png,,,,", "url,,unknown,,,r"]
    async with Backlog.open(place) as backlog:
        path = manifest(tmp_path, *rows)
        await backlog.add_manifest(path)
        await backlog.run(ekb)
        before, sent = await all_tasks(backlog), len(quick_box.log)
        assert [task.state for task in before] == ["failed", "done", "failed"]
        assert await backlog.add_manifest(path) == AddReport(added=0, duplicates=3, present=3)
        await backlog.run(ekb)
        assert await all_tasks(backlog) == before
        assert len(quick_box.log) == sent
        assert await backlog.retry() == 2


async def test_a_row_with_the_same_reference_is_there_already(tmp_path: Path, place: Location) -> None:
    """Kind, content and reference identify a row; its call is made with the corrected staff ID."""
    async with (
        Sandbox(verify_rate=0, staff={"corp:new"}) as box,
        session(box) as ekb,
        Backlog.open(place) as backlog,
    ):
        file = picture(tmp_path, "a.png")
        await backlog.add_manifest(manifest(tmp_path, f"verify,{file},,corp:gone,,7", f"ocr,{file},,,,7"))
        report = await backlog.add_manifest(manifest(tmp_path, f"verify,{file},,corp:new,,7", name="n.csv"))
        assert report == AddReport(added=0, duplicates=1, present=1)
        assert (await backlog.run(ekb)).counts["done"] == 2


async def test_a_url_with_a_new_signature(
    tmp_path: Path, place: Location, quick_box: Sandbox, ekb: EkbSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row whose URL has a new signature is already present, and its call is made with the new signature."""
    reply, sent = quick_box.vendor.reply, []

    def answer(request: VendorRequest, at: float) -> VendorReply:
        sent.append(request.body)
        return reply(request, at)

    monkeypatch.setattr(quick_box.vendor, "reply", answer)
    path = manifest(tmp_path, f"ocr,{SIGNED}FIRST,,,,", f"ocr,{SIGNED}FIRST,,,,7")
    fresh = tmp_path / "fresh.jsonl"
    fresh.write_text(
        f'{{"kind": "ocr", "file": "{SIGNED}SECOND", "ref": "7"}}\n{{"kind": "ocr", "file": "{SIGNED}THIRD"}}\n',
        encoding="utf-8",
    )
    async with Backlog.open(place) as backlog:
        await backlog.add_manifest(path)
        path.unlink()
        assert await backlog.add_manifest(fresh) == AddReport(added=0, duplicates=2, present=2)
        assert (await backlog.run(ekb)).counts["done"] == 2
    assert [b"THIRD" in body for body in sent if b"files.example" in body] == [True]


async def test_tenants_have_rows_of_their_own(tmp_path: Path, place: Location) -> None:
    """The same row of another tenant is a different row."""
    path = tmp_path / "t.csv"
    async with Backlog.open(place) as backlog:
        for tenant, added in (("a", 1), ("b", 1), ("a", 0), ("", 1), ("", 0)):
            path.write_text(f"kind,invoice_id,ref,tenant\nurl,corp:1:2,7,{tenant}\n", encoding="utf-8")
            assert (await backlog.add_manifest(path)).added == added
        assert [task.tenant for task in await all_tasks(backlog)] == ["a", "b", ""]


async def test_files_that_were_moved(tmp_path: Path, place: Location, ekb: EkbSession) -> None:
    """Adding a manifest again from another folder updates where its files are."""
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    row = f"ocr,{picture(old, 'a.png')},,,,"
    async with Backlog.open(place) as backlog:
        await backlog.add_manifest(manifest(old, row))
        old.rename(new)
        assert (await backlog.add_manifest(manifest(new, row))).present == 1
        assert (await backlog.run(ekb)).counts["done"] == 1


async def test_copies_in_two_folders(tmp_path: Path, place: Location, ekb: EkbSession) -> None:
    """Two people's copies of one invoice are two rows of one call, whatever their names; a folder may be moved."""
    first, second = tmp_path / "张三", tmp_path / "李四"
    for folder in (first, second):
        folder.mkdir()
        (folder / "车票.png").write_bytes(b"\x89PNG\r\n\x1a\nsame")
    alike = AddReport(added=0, duplicates=1, present=1)
    async with Backlog.open(place) as backlog:
        assert (await backlog.add_folder(first, kind="ocr", read=False)).added == 1
        assert await backlog.add_folder(second, kind="ocr", read=False) == AddReport(added=0, duplicates=1)
        for folder in (first, second):
            assert await backlog.add_folder(folder, kind="ocr", read=False) == alike
        assert (await backlog.run(ekb)).counts["done"] == 2
        second.rename(tmp_path / "王五")
        assert await backlog.add_folder(tmp_path / "王五", kind="ocr", read=False) == alike
        whole = await backlog.add_folder(tmp_path, kind="ocr", read=False)
        assert (whole.added, whole.duplicates, whole.present) == (0, 2, 1)
        found = await all_tasks(backlog)
    assert [task.manifest for task in found[:2]] == [str(first / "*"), str(second / "*")]
    assert len({task.call_id for task in found}) == 1
    assert [task.shared for task in found].count(False) == 1
