"""Runs over a backlog against a sandbox: results, failures, stopping, interrupting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ekb_async import EkbSession, SessionConfig
from ekb_async.backlog import AddReport, Backlog, Progress
from ekb_async.errors import AuthError, ConfigError, PermissionDeniedError, SessionClosedError, StorageError
from ekb_async.sandbox import Sandbox
from ekb_async.sandbox.faults import Fault
from tests.support.backlog_stores import Location
from tests.support.backlogs import HEADER, all_tasks, execute, manifest, names_in, picture, session
from tests.support.watched_log import WatchedLog


async def test_every_kind_gets_its_result(tmp_path: Path, place: Location, ekb: EkbSession) -> None:
    """Results are JSON with English names; a call that cannot be made fails alone, with its error."""
    picture(tmp_path, "票.png")
    rows = [
        "ocr,票.png,,,,a",
        "verify,票.png,,corp:staff,,b",
        "url,,corp:1:2,,,c",
        "detail,,corp::3,,,d",
        "download,,corp:1:2,,,e",
        "url,,unknown,,,f",
    ]
    files = tmp_path / "files"
    files.mkdir()
    async with Backlog.open(place) as backlog:
        await backlog.add_manifest(manifest(tmp_path, *rows))
        summary = await backlog.run(ekb, files=files)
        ocr, verified, link, lines, download, unknown = await all_tasks(backlog)
    assert summary.counts == {"pending": 0, "running": 0, "done": 5, "failed": 1}
    assert summary.failures == {"InvoiceNotFoundError": 1}
    assert ocr.result["invoices"][0]["details"]["number"] == verified.result["invoices"][0]["form"]["number"]
    assert verified.result["invoices"][0]["usable"] is True
    assert link.result["id"] == "corp:1:2"
    assert link.result["file_name"].endswith(".png")
    assert [line["invoice_id"] for line in lines.result] == ["corp::3"] * len(lines.result)
    assert names_in(files) == [Path(download.result["path"]).name]
    assert download.result["size"] > 0
    assert (unknown.state, unknown.result, unknown.error_type) == ("failed", None, "InvoiceNotFoundError")
    assert {task.attempts for task in (ocr, verified, link, lines, download)} == {1}


async def test_equal_content_is_paid_once(tmp_path: Path, place: Location, quick_box: Sandbox, ekb: EkbSession) -> None:
    """Rows of equal content share one call, within a manifest, across manifests, before and after a run."""
    for name in ("a.png", "b.png", "c.png"):
        (tmp_path / name).write_bytes(b"\x89PNG\r\n\x1a\nsame")
    async with Backlog.open(place) as backlog:
        await backlog.add_manifest(manifest(tmp_path, "ocr,a.png,,,,", "ocr,b.png,,,,"))
        await backlog.run(ekb)
        report = await backlog.add_manifest(manifest(tmp_path, "ocr,c.png,,,,", name="later.csv"))
        assert report == AddReport(added=0, duplicates=1)
        assert await backlog.counts() == {"pending": 0, "running": 0, "done": 3, "failed": 0}
        await backlog.run(ekb)
        results = [task.result for task in await all_tasks(backlog, "done")]
    assert results[0] == results[1] == results[2] != {}
    assert quick_box.vendor.billed["ocr"].total() == 1


async def test_results_outlive_the_program(
    tmp_path: Path, place: Location, quick_box: Sandbox, ekb: EkbSession
) -> None:
    """A reopened backlog has its results and repeats none of its calls."""
    async with Backlog.open(place) as backlog:
        await backlog.add_manifest(manifest(tmp_path, f"ocr,{picture(tmp_path, 'a.png')},,,,"))
        await backlog.run(ekb)
        before = await all_tasks(backlog)
    async with Backlog.open(place) as backlog:
        await backlog.run(ekb)
        assert await all_tasks(backlog) == before
    assert quick_box.vendor.billed["ocr"].total() == 1


async def test_a_failure_says_what_and_why_and_is_tried_again_on_request(tmp_path: Path, place: Location) -> None:
    """A failed row has the error's class, text and hint; only `retry` makes it pending again."""
    async with (
        Sandbox(ocr_rate=0, verify_rate=0, staff={"corp:new"}) as box,
        session(box) as ekb,
        Backlog.open(place) as backlog,
    ):
        await backlog.add_manifest(manifest(tmp_path, f"verify,{picture(tmp_path, 'a.png')},,corp:gone,,"))
        await backlog.run(ekb)
        await backlog.run(ekb)
        (task,) = await all_tasks(backlog, "failed")
        assert task.error is not None
        assert "人员不存在" in task.error
        assert task.error.startswith("StaffNotFoundError: ")
        assert (task.attempts, task.error_type) == (1, "StaffNotFoundError")
        assert task.hint is not None
        assert "corporation:staff" in task.hint
        assert await backlog.retry() == 1
        assert (await all_tasks(backlog, "pending"))[0].error is None


async def test_a_file_that_the_vendor_does_not_know_costs_its_row_only(
    tmp_path: Path, place: Location, quick_box: Sandbox, ekb: EkbSession
) -> None:
    """A row whose attachment does not exist fails unsent; this is not an outage, and the other rows are done."""
    async with Backlog.open(place) as backlog:
        await backlog.add_manifest(
            manifest(tmp_path, "ocr,attachment:ID01no:a.png,,,,", "ocr,https://f.example/b.png,,,,")
        )
        async with asyncio.timeout(30):
            summary = await backlog.run(ekb)
        assert summary.failures == {"InvalidRequestError": 1}
        assert summary.counts["done"] == 1
        (failed,) = await all_tasks(backlog, "failed")
        assert failed.attempts == 0
        assert "附件不存在" in str(failed.error)
    assert quick_box.count("ocr") == 1


async def test_a_failed_row_added_again_is_done_the_new_way(tmp_path: Path, place: Location) -> None:
    """Adding the file with another staff ID corrects its row; `retry` makes the call with the new ID."""
    async with (
        Sandbox(ocr_rate=0, verify_rate=0, staff={"corp:new"}) as box,
        session(box) as ekb,
        Backlog.open(place) as backlog,
    ):
        file = picture(tmp_path, "a.png")
        await backlog.add_manifest(manifest(tmp_path, f"verify,{file},,corp:gone,,"))
        await backlog.run(ekb)
        report = await backlog.add_manifest(manifest(tmp_path, f"verify,{file},,corp:new,,", name="n.csv"))
        assert report == AddReport(added=0, duplicates=1, present=1)
        assert await backlog.retry() == 1
        await backlog.run(ekb)
        assert await backlog.counts() == {"pending": 0, "running": 0, "done": 1, "failed": 0}


async def test_a_signed_url_is_sent_whole_and_kept_without_signature(tmp_path: Path, ekb: EkbSession) -> None:
    """The vendor gets the URL with its signature; the backlog file has no signature, not even one from an answer."""
    attachment = await ekb.upload(b"\x89PNG\r\n\x1a\nx", name="a.png")
    url = (await ekb.download_urls([attachment]))[attachment].url
    rows = [f'ocr,"{url}",,,,multi', f"url,,{'corp:1:2'},,,"]
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        await backlog.add_manifest(manifest(tmp_path, *rows))
        jsonl = tmp_path / "m.jsonl"
        jsonl.write_text(f'\ufeff{{"file": "{url}", "kind": "verify", "staff_id": "corp:staff"}}\n', encoding="utf-8")
        await backlog.add_manifest(jsonl)
        summary = await backlog.run(ekb)
        tasks = await all_tasks(backlog)
    kept = (tmp_path / "b.sqlite").read_bytes()
    assert summary.counts["done"] == 3
    assert "Signature" in url
    assert not any("Signature" in repr(task) for task in tasks)
    assert b"Signature" not in kept
    assert tasks[1].result["url"].startswith("http")


@pytest.mark.parametrize("change", ["gone", "changed", "shorter"])
async def test_a_signed_url_whose_manifest_has_changed(
    tmp_path: Path, place: Location, quick_box: Sandbox, ekb: EkbSession, change: str
) -> None:
    """Without its manifest a signed URL cannot be sent: the row fails, and the remedy in its error works."""
    row = "ocr,https://files.example/a.png?Signature=TOPSECRET,,,,"
    path = manifest(tmp_path, row)
    async with Backlog.open(place) as backlog:
        await backlog.add_manifest(path)
        if change == "gone":
            path.unlink()
        else:
            path.write_text(
                HEADER if change == "shorter" else f"{HEADER}ocr,https://files.example/b.png,,,,xxxxxxxxx\n"
            )
        await backlog.run(ekb)
        (task,) = await all_tasks(backlog, "failed")
        assert task.error is not None
        assert task.error.startswith("ConfigError: ")
        assert "again" in task.error
        assert quick_box.count("ocr") == 0
        assert "ekb backlog retry" in task.error
        assert await backlog.add_manifest(manifest(tmp_path, row)) == AddReport(added=0, duplicates=1, present=1)
        assert await backlog.retry() == 1
        assert (await backlog.run(ekb)).counts["done"] == 1


@pytest.mark.slow
async def test_without_permission_the_run_stops_and_nothing_is_lost(tmp_path: Path, place: Location) -> None:
    """`PermissionDeniedError` ends the run; the rows stay pending and are done once the feature is enabled."""
    async with (
        Sandbox(ocr_rate=0, verify_rate=0, permissions={"ocr"}) as box,
        session(box) as ekb,
        Backlog.open(place) as backlog,
    ):
        rows = [f"verify,https://files.example/{number}.png,,corp:staff,," for number in range(300)]
        await backlog.add_manifest(manifest(tmp_path, *rows))
        with pytest.raises(PermissionDeniedError):
            await backlog.run(ekb)
        assert await backlog.counts() == {"pending": 300, "running": 0, "done": 0, "failed": 0}
        assert box.count("verify") <= 30
        box.permissions.add("verify")
        assert (await backlog.run(ekb)).counts["done"] == 300
        assert box.vendor.billed["verify"].total() == 300


async def test_stopping_waits_for_calls_under_way(tmp_path: Path, place: Location) -> None:
    """When every call of one kind is refused, billed calls of another kind that are in flight are recorded."""
    latency = {"ocr": 0.3, "verify": 0.1}
    async with (
        Sandbox(ocr_rate=0, verify_rate=0, permissions={"ocr"}, latency=latency) as box,
        session(box) as ekb,
        Backlog.open(place) as backlog,
    ):
        rows = [f"ocr,https://files.example/{number}.png,,,," for number in range(300)]
        rows.append("verify,https://files.example/v.png,,corp:staff,,")
        await backlog.add_manifest(manifest(tmp_path, *rows))
        with pytest.raises(PermissionDeniedError):
            await backlog.run(ekb)
        counts = await backlog.counts()
        assert counts["done"] == box.vendor.billed["ocr"].total() < 300
        assert counts["pending"] == 301 - counts["done"]


async def test_wrong_keys_stop_the_run(tmp_path: Path, place: Location, quick_box: Sandbox) -> None:
    """`AuthError` ends the run and leaves every row pending, look-ups too."""
    quick_box.vendor.rules.app_security = "changed"
    credentials = quick_box.credentials
    quick_box.vendor.rules.app_security = "right"
    async with (
        EkbSession(credentials, base_url=quick_box.base_url) as ekb,
        Backlog.open(place) as backlog,
    ):
        rows = [f"{kind}" for n in range(50) for kind in (f"ocr,https://f.example/{n},,,,", f"url,,c:1:{n},,,")]
        await backlog.add_manifest(manifest(tmp_path, *rows))
        with pytest.raises(AuthError):
            await backlog.run(ekb)
        assert await backlog.counts() == {"pending": 100, "running": 0, "done": 0, "failed": 0}


async def test_a_closed_session_ends_the_run(tmp_path: Path, place: Location, ekb: EkbSession) -> None:
    """`SessionClosedError` is raised and the rows stay pending."""
    async with Backlog.open(place) as backlog:
        await backlog.add_manifest(manifest(tmp_path, "ocr,https://f.example/1,,,,", "url,,c:1:2,,,"))
        await ekb.close()
        with pytest.raises(SessionClosedError):
            await backlog.run(ekb)
        assert await backlog.counts() == {"pending": 2, "running": 0, "done": 0, "failed": 0}


async def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path: Path, place: Location) -> None:
    """A cancelled run lets calls in flight end and records them, so that the next run pays for the others only."""
    async with Sandbox(ocr_rate=0, verify_rate=0, latency=0.05) as box:
        box.log = log = WatchedLog()
        async with Backlog.open(place) as backlog:
            rows = [f"ocr,https://files.example/{number}.png,,,," for number in range(60)]
            await backlog.add_manifest(manifest(tmp_path, *rows, *(f"url,,c:1:{number},,," for number in range(60))))
            async with session(box, max_running=5) as ekb:
                run = asyncio.create_task(backlog.run(ekb))
                await log.arrival("ocr", 12).wait()
                run.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await run
            paid = [task for task in await all_tasks(backlog, "done") if task.kind == "ocr"]
            assert 12 <= len(paid) == box.vendor.billed["ocr"].total() < 60
            assert (await backlog.counts())["running"] == 0
            async with session(box) as ekb:
                assert (await backlog.run(ekb)).counts["done"] == 120
            assert {task.maybe_billed for task in await all_tasks(backlog)} == {0}
        assert box.vendor.billed["ocr"].total() == 60


@pytest.mark.parametrize("patience", [10.0, 0.0])
async def test_what_is_broken_off_counts_as_maybe_billed(tmp_path: Path, place: Location, patience: float) -> None:
    """`break_off`, or the end of `close_timeout`, breaks off the calls in flight; only sent calls are counted."""
    async with Sandbox(ocr_rate=0, latency=60) as box, Backlog.open(place) as backlog:
        box.log = log = WatchedLog()
        await backlog.add_manifest(manifest(tmp_path, *(f"ocr,https://f.example/{n},,,," for n in range(20))))
        async with session(box, max_running=5, close_timeout=patience) as ekb:
            run = asyncio.create_task(backlog.run(ekb))
            await log.arrival("ocr", 5).wait()
            run.cancel()
            if patience:
                await asyncio.sleep(0)
                backlog.break_off()
            with pytest.raises(asyncio.CancelledError):
                await run
        tasks = await all_tasks(backlog)
    assert {task.state for task in tasks} == {"pending"}
    assert sorted((task.attempts, task.maybe_billed) for task in tasks) == [(0, 0)] * 15 + [(1, 1)] * 5


async def test_attempts_are_those_of_the_session(tmp_path: Path, place: Location) -> None:
    """Repeated attempts of the session are counted, and those whose answer was lost count as maybe billed."""
    async with (
        Sandbox(ocr_rate=0, faults=[Fault.lost_answer(calls="ocr", times=2)]) as box,
        session(box) as ekb,
        Backlog.open(place) as backlog,
    ):
        await backlog.add_manifest(manifest(tmp_path, "ocr,https://f.example/1,,,,"))
        await backlog.run(ekb)
        (task,) = await all_tasks(backlog)
        assert box.vendor.billed["ocr"].total() == 3
    assert (task.state, task.attempts, task.maybe_billed) == ("done", 3, 2)


async def test_a_changed_file_is_not_sent(tmp_path: Path, place: Location, quick_box: Sandbox, ekb: EkbSession) -> None:
    """If a row's file has changed, an equal file is sent, or the row fails unbilled; added again it is done."""
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"\x89PNG\r\n\x1a\nsame")
    picture(tmp_path, "c.png")
    async with Backlog.open(place) as backlog:
        await backlog.add_manifest(manifest(tmp_path, "ocr,a.png,,,,", "ocr,b.png,,,,", "ocr,c.png,,,,"))
        (tmp_path / "b.png").unlink()
        (tmp_path / "c.png").write_bytes(b"\x89PNG\r\n\x1a\nanother invoice")
        await backlog.run(ekb)
        first, second, changed = await all_tasks(backlog)
        assert (first.state, second.state) == ("done", "done")
        assert (changed.state, changed.attempts, changed.error_type) == ("failed", 0, "ConfigError")
        assert changed.error is not None
        assert "changed since it was added" in changed.error
        assert quick_box.vendor.billed["ocr"].total() == 1
        await backlog.add_manifest(manifest(tmp_path, "ocr,c.png,,,,", name="again.csv"))
        assert (await backlog.run(ekb)).counts["done"] == 3


async def test_a_backlog_that_cannot_be_read_fails_no_row(
    tmp_path: Path, ekb: EkbSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the other files of a call cannot be looked up in the backlog, the run ends and the row stays pending."""

    async def copies(*_: object) -> list[tuple[str, str]]:
        raise StorageError("b.sqlite: the backlog cannot be read or written")

    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"\x89PNG\r\n\x1a\nsame")
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        await backlog.add_manifest(manifest(tmp_path, "ocr,a.png,,,,1", "ocr,b.png,,,,2"))
        (tmp_path / "a.png").unlink()
        (tmp_path / "b.png").unlink()
        monkeypatch.setattr(backlog._store, "copies", copies)
        with pytest.raises(StorageError):
            await backlog.run(ekb)
        assert await backlog.counts() == {"pending": 2, "running": 0, "done": 0, "failed": 0}


async def test_a_lost_answer_may_have_been_paid(tmp_path: Path, place: Location) -> None:
    """A call whose answer was lost and that is not repeated fails, and counts as maybe billed."""
    faults = [Fault.lost_answer(calls="ocr")]
    config = SessionConfig(repeat_unknown=False)
    async with (
        Sandbox(faults=faults) as box,
        EkbSession(box.credentials, base_url=box.base_url, config=config) as ekb,
        Backlog.open(place) as backlog,
    ):
        await backlog.add_manifest(manifest(tmp_path, "ocr,https://f.example/1,,,,"))
        await backlog.run(ekb)
        (task,) = await all_tasks(backlog)
    assert (task.state, task.error_type, task.maybe_billed) == ("failed", "OutcomeUnknownError", 1)


async def test_a_small_queue_is_waited_for(tmp_path: Path, place: Location) -> None:
    """If the queue of the session is shorter than the backlog, rows are submitted as it has room."""
    async with (
        Sandbox(ocr_rate=0, verify_rate=0) as box,
        session(box, queue_size=3, max_running=2) as ekb,
        Backlog.open(place) as backlog,
    ):
        await backlog.add_manifest(manifest(tmp_path, *(f"ocr,https://f.example/{n},,,," for n in range(20))))
        assert (await backlog.run(ekb)).counts["done"] == 20


async def test_look_ups_fill_their_requests(tmp_path: Path, quick_box: Sandbox, ekb: EkbSession) -> None:
    """Look-ups are sent in full batches, however many rows there are."""
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        await backlog.add_manifest(manifest(tmp_path, *(f"url,,c:1:{number},,," for number in range(2_000))))
        assert (await backlog.run(ekb)).counts["done"] == 2_000
    assert quick_box.count("invoice_url") <= 40


async def test_progress_rises_to_the_end(tmp_path: Path, place: Location, ekb: EkbSession) -> None:
    """Progress counts rows, never falls, and ends with the counts of the summary."""
    seen: list[Progress] = []
    async with Backlog.open(place) as backlog:
        rows = [f"ocr,https://f.example/{number},,,," for number in range(10)]
        await backlog.add_manifest(manifest(tmp_path, *rows, *rows[:5]))
        summary = await backlog.run(ekb, progress=seen.append)
    assert (seen[0].done, seen[0].total) == (0, 15)
    assert (seen[-1].done, seen[-1].counts) == (15, summary.counts)
    assert [progress.done for progress in seen] == sorted(progress.done for progress in seen)
    assert seen[-1].rate > 0


async def test_an_error_of_the_progress_callback_is_raised_as_it_is(tmp_path: Path, place: Location) -> None:
    """An exception of the callback ends the run and is raised unwrapped, after calls in flight are recorded."""
    async with (
        Sandbox(ocr_rate=0, latency=0.05) as box,
        session(box, max_running=2) as ekb,
        Backlog.open(place) as backlog,
    ):
        box.log = log = WatchedLog()
        arrived = log.arrival("ocr", 1)

        def broken(_: Progress) -> None:
            if arrived.is_set():
                raise ZeroDivisionError

        await backlog.add_manifest(manifest(tmp_path, *(f"ocr,https://f.example/{n},,,," for n in range(150))))
        with pytest.raises(ZeroDivisionError):
            await backlog.run(ekb, progress=broken)
        assert (await backlog.counts())["done"] == box.vendor.billed["ocr"].total() < 150
        async with session(box, max_running=50) as quick:
            assert (await backlog.run(quick)).counts["done"] == 150
        assert box.vendor.billed["ocr"].total() == 150


@pytest.mark.slow
async def test_a_run_that_cannot_record_stops_paying(tmp_path: Path) -> None:
    """When the file can no longer be written, nothing more is sent, and the error names the file."""
    async with (
        Sandbox(ocr_rate=0, latency=0.05) as box,
        session(box, max_running=2) as ekb,
        Backlog.open(tmp_path / "b.sqlite") as backlog,
    ):
        box.log = log = WatchedLog()
        await backlog.add_manifest(manifest(tmp_path, *(f"ocr,https://f.example/{n},,,," for n in range(60))))
        run = asyncio.create_task(backlog.run(ekb))
        await log.arrival("ocr", 1).wait()
        await execute(backlog, "PRAGMA query_only = ON")
        with pytest.raises(ConfigError, match=r"b\.sqlite: the backlog cannot be read or written"):
            await run
        billed = box.vendor.billed["ocr"].total()
        assert billed <= 4
        await execute(backlog, "PRAGMA query_only = OFF")
        assert (await backlog.run(ekb)).counts["done"] == 60
        tasks = await all_tasks(backlog)
    assert box.vendor.billed["ocr"].total() <= 60 + billed
    assert sum(task.maybe_billed for task in tasks) <= billed


async def test_rows_can_be_added_during_a_run(tmp_path: Path, place: Location) -> None:
    """Rows added during a run are done by it, also those of a kind that it had no rows of."""
    async with Sandbox(ocr_rate=0, verify_rate=0, latency=0.05) as box, session(box, max_running=2) as ekb:
        box.log = log = WatchedLog()
        async with Backlog.open(place) as backlog:
            await backlog.add_manifest(manifest(tmp_path, *(f"ocr,https://f.example/{n},,,," for n in range(10))))
            run = asyncio.create_task(backlog.run(ekb))
            await log.arrival("ocr", 3).wait()
            rows = [f"ocr,https://f.example/{n},,,," for n in range(5, 15)]
            await backlog.add_manifest(manifest(tmp_path, *rows, "url,,corp:1:2,,,"))
            assert (await run).counts == {"pending": 0, "running": 0, "done": 16, "failed": 0}
        assert box.vendor.billed["ocr"].total() == 15


async def test_an_unexpected_error_loses_no_billed_call(
    tmp_path: Path, place: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unexpected error is raised only after other calls in flight are recorded, and no row stays claimed."""
    async with (
        Sandbox(ocr_rate=0, latency=0.3) as box,
        session(box) as ekb,
        Backlog.open(place) as backlog,
    ):
        box.log = log = WatchedLog()
        rows = [f"ocr,https://f.example/{number},,,," for number in range(3)]
        await backlog.add_manifest(manifest(tmp_path, *rows, "url,,corp:1:2,,,"))

        async def look_up(*_: object) -> object:
            await log.arrival("ocr", 3).wait() if len(log) < 4 else None
            raise LookupError("a bug")

        monkeypatch.setattr(ekb, "look_up", look_up)
        with pytest.raises(LookupError, match="a bug"):
            await backlog.run(ekb)
        assert await backlog.counts() == {"pending": 1, "running": 0, "done": 3, "failed": 0}
        assert await backlog.maybe_billed() == 0


async def test_downloads_wait_for_a_directory(tmp_path: Path, place: Location, ekb: EkbSession) -> None:
    """Without a directory for files, rows of kind download stay pending and all others are done."""
    async with Backlog.open(place) as backlog:
        await backlog.add_manifest(manifest(tmp_path, "download,,corp:1:2,,,", "url,,corp:1:2,,,"))
        assert (await backlog.run(ekb)).counts == {"pending": 1, "running": 0, "done": 1, "failed": 0}
        assert (await backlog.run(ekb, files=tmp_path)).counts["done"] == 2


@pytest.mark.parametrize("use", [Backlog.counts, Backlog.retry, Backlog.failures])
async def test_a_closed_backlog_says_so(tmp_path: Path, place: Location, use: Callable[[Backlog], object]) -> None:
    """Using a backlog after its block raises `ConfigError`."""
    async with Backlog.open(place) as backlog:
        pass
    with pytest.raises(ConfigError, match="is closed"):
        await use(backlog)  # type: ignore[misc]


async def no_progress(_: object) -> None: ...


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"ekb": None}, "ekb must be a session, TenantSessions or a function of the tenant, not NoneType"),
        ({"ekb": EkbSession}, "ekb must be a session, not the class EkbSession"),
        ({"ekb": "session"}, "not str"),
        ({"progress": 5}, "progress must be an ordinary function"),
        ({"progress": no_progress}, "progress must be an ordinary function"),
        ({"files": 5}, "files must be a path, not int"),
    ],
)
async def test_wrong_arguments(tmp_path: Path, quick_box: Sandbox, given: dict[str, Any], reason: str) -> None:
    """They are named before anything is done."""
    async with session(quick_box) as ekb, Backlog.open(tmp_path / "b.sqlite") as backlog:
        with pytest.raises(ConfigError, match=reason):
            await backlog.run(**{"ekb": ekb, **given})
        with pytest.raises(ConfigError, match="path must be a path, not NoneType"):
            await backlog.export(None)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="place must be a path"):
        async with Backlog.open(None):  # type: ignore[arg-type]
            pass
