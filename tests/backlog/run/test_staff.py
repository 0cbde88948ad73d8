"""A staff ID that the vendor refuses costs a few calls, however many rows have it."""

from __future__ import annotations

import itertools
from pathlib import Path

from ekb_async.backlog import Backlog
from ekb_async.protocol.endpoints import VERIFY
from ekb_async.sandbox import Sandbox
from ekb_async.sandbox.loopback import Answered
from tests.support.backlog_stores import Location
from tests.support.backlogs import all_tasks, manifest, session
from tests.support.command import ekb as command


def rows(staff_id: str, count: int) -> list[str]:
    return [f"verify,https://f.example/{staff_id}-{number}.png,,{staff_id},,{number}" for number in range(count)]


async def test_rows_with_a_refused_staff_id_wait(tmp_path: Path, place: Location) -> None:
    """After a few refusals the other rows with the ID stay pending, all others are done, and errors name the ID."""
    active = {"corp:good"}
    async with (
        Sandbox(verify_rate=0, staff=active) as box,
        session(box) as ekb,
        Backlog.open(place) as backlog,
    ):
        await backlog.add_manifest(manifest(tmp_path, *rows("corp:wrong", 274), *rows("corp:good", 30)))
        summary = await backlog.run(ekb)
        failed = await all_tasks(backlog, "failed")
        assert len(failed) <= 5
        assert summary.counts == {"pending": 274 - len(failed), "running": 0, "done": 30, "failed": len(failed)}
        assert summary.refused_staff == {"corp:wrong": 274 - len(failed)}
        assert all("corp:wrong" in str(task.error) for task in failed)
        assert box.count("verify") == 30 + len(failed)
        assert all(task.attempts == 0 for task in await all_tasks(backlog, "pending"))
        active.add("corp:wrong")
        assert (await backlog.run(ekb)).counts["done"] == 304 - len(failed)


async def test_a_staff_id_that_is_refused_in_mid_run(tmp_path: Path, place: Location) -> None:
    """Rows that are already queued when a staff ID stops being accepted stay pending as well."""
    active = {"corp:leaving"}
    answers = itertools.count(1)

    def leave(answered: Answered) -> None:
        if answered.path == VERIFY.path and next(answers) == 20:
            active.clear()

    async with (
        Sandbox(verify_rate=0, staff=active, on_answer=leave) as box,
        session(box, max_running=1) as ekb,
        Backlog.open(place) as backlog,
    ):
        await backlog.add_manifest(manifest(tmp_path, *rows("corp:leaving", 150)))
        summary = await backlog.run(ekb)
        assert summary.counts["done"] in {20, 21}  # the next call may be there before the hook
        assert summary.counts["pending"] == 150 - box.count("verify") > 0
        assert summary.failures == {"StaffNotFoundError": summary.counts["failed"]}
        assert summary.counts["failed"] <= 5


async def test_a_corrected_manifest_is_done(tmp_path: Path, place: Location) -> None:
    """Waiting rows are done with the staff ID of a corrected manifest."""
    async with (
        Sandbox(verify_rate=0, staff={"corp:right"}) as box,
        session(box) as ekb,
        Backlog.open(place) as backlog,
    ):
        wrong = rows("corp:wrong", 40)
        await backlog.add_manifest(manifest(tmp_path, *wrong))
        await backlog.run(ekb)
        await backlog.retry()
        right = [row.replace(",corp:wrong,", ",corp:right,") for row in wrong]
        assert (await backlog.add_manifest(manifest(tmp_path, *right))).present == 40
        assert (await backlog.run(ekb)).counts["done"] == 40


async def test_the_command_says_what_waits(tmp_path: Path) -> None:
    """The command reports the refused ID and the number of waiting rows."""
    async with Sandbox(staff=set(), verify_rate=0) as box:
        await command("backlog", "add", tmp_path / "b.sqlite", manifest(tmp_path, *rows("corp:wrong", 30)), box=box)
        ran = await command("backlog", "run", tmp_path / "b.sqlite", "--verify-rate", "1000", box=box)
    assert ran.status == 1
    assert "rows wait: the vendor refused their staff_id corp:wrong" in ran.messages
    assert "--files" not in ran.messages


async def test_files_that_are_refused_say_nothing_of_the_staff_id(tmp_path: Path, place: Location) -> None:
    """Other refusals fail only their own rows, however many there are, and no row waits."""
    for number in range(8):
        (tmp_path / f"{number}.png").write_bytes(b"no image %d" % number)
    async with Sandbox(verify_rate=0) as box, session(box, max_tries=1) as ekb, Backlog.open(place) as backlog:
        bad = [f"verify,{number}.png,,corp:staff,," for number in range(8)]
        await backlog.add_manifest(manifest(tmp_path, *bad, *rows("corp:staff", 5)))
        summary = await backlog.run(ekb)
    assert summary.counts == {"pending": 0, "running": 0, "done": 5, "failed": 8}
    assert summary.failures == {"RecognitionError": 8}
    assert summary.refused_staff == {}
