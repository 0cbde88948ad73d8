"""`ekb backlog purge`: the question, what it deletes, what status shows of it, and compacting a file."""

from __future__ import annotations

from pathlib import Path

import msgspec

from ekb_async.backlog import Backlog
from ekb_async.sandbox import Sandbox
from tests.support.backlog_stores import Location
from tests.support.backlogs import manifest, picture, session
from tests.support.command import Finished
from tests.support.command import ekb as command


async def ekb(*arguments: str | Path) -> Finished:
    """Run a command in this process."""
    return await command("backlog", *arguments)


async def add_done(place: Location, directory: Path, count: int = 3) -> Path:
    """Add rows that are done, and return their manifest."""
    rows = [f"ocr,{picture(directory, f'{n}.png')},,,,{n}" for n in range(count)]
    path = manifest(directory, *rows)
    async with Sandbox(ocr_rate=0) as box, Backlog.open(place) as backlog, session(box) as client:
        await backlog.add_manifest(path)
        await backlog.run(client)
    return path


async def test_a_purge_asks_and_says_what_it_deletes(tmp_path: Path, place: Location) -> None:
    """Without --yes it asks, and without a terminal it deletes nothing; status shows what was purged."""
    path = await add_done(place, tmp_path)
    result = await ekb("purge", place, "--done-before", "0m", "--dry-run")
    assert result.status == 0
    assert "3 rows to delete, with their results" in result.messages
    result = await ekb("purge", place, "--done-before", "0m")
    assert result.status == 2
    result = await ekb("purge", place, "--done-before", "30d", "--yes")
    assert "0 rows deleted" in result.messages
    result = await ekb("purge", place, "--done-before", "0m", "--yes")
    assert (result.status, "3 rows deleted, with their results" in result.messages) == (0, True)
    shown = (await ekb("status", place)).output.decode()
    assert "3 rows purged: 3 done, 0 failed; billed calls made for them: 3" in shown
    status = msgspec.json.decode((await ekb("status", place, "--json")).output)
    assert (status["purged"]["rows"], status["accounting"]["calls"], status["accounting"]["purged"]) == (3, 3, 3)
    assert status["purged"]["invoices"][0]["currency"] == "CNY"
    result = await ekb("add", place, path)
    assert "3 rows were purged with their results, and were not added again" in result.messages
    result = await ekb("add", place, path, "--again")
    assert "3 calls to make" in result.messages


async def test_a_wrong_moment_is_refused(tmp_path: Path) -> None:
    """What is neither an age nor a date is refused, and so is compacting a database."""
    place = tmp_path / "b.sqlite"
    await add_done(place, tmp_path, 1)
    for wrong in ("yesterday", "30", "-1d"):
        result = await ekb("purge", place, f"--done-before={wrong}", "--yes")
        assert (result.status, "--done-before must be an age" in result.messages) == (2, True)
    result = await ekb("purge", "postgresql:///none", "--done-before", "1d", "--compact")
    assert (result.status, "--compact is for a file" in result.messages) == (2, True)


async def test_a_compacted_file_is_smaller_and_still_in_use(tmp_path: Path) -> None:
    """Compacting gives space back, is refused while a run is active, and other programs go on with the file."""
    place = tmp_path / "b.sqlite"
    async with Sandbox(ocr_rate=0) as box, Backlog.open(place) as backlog, session(box) as client:
        rows = [f"ocr,https://files.example/{n}.png,,,,{n}" for n in range(300)]
        await backlog.add_manifest(manifest(tmp_path, *rows))
        run = await backlog._store.begin_run(hold_unknown=False)
        result = await ekb("purge", place, "--done-before", "0m", "--compact", "--yes")
        assert (result.status, "a run is at work on it" in result.messages) == (2, True)
        await backlog._store.end_run(run)
        await backlog.remove(state="pending")
        before = place.stat().st_size + place.with_name("b.sqlite-wal").stat().st_size
        result = await ekb("purge", place, "--done-before", "0m", "--compact", "--yes")
        assert (result.status, "MB smaller" in result.messages) == (0, True)
        assert place.stat().st_size < before / 2
        # The connection that was open all the time takes the file as it is now.
        await backlog.add_manifest(manifest(tmp_path, f"ocr,{picture(tmp_path, 'a.png')},,,,a", name="n.csv"))
        assert (await backlog.run(client)).counts["done"] == 1
        assert await backlog.compact() >= 0
        assert (await backlog.counts())["done"] == 1
