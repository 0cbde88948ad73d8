"""`ekb backlog`: its exit status, output and files."""

from __future__ import annotations

import csv
import signal
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from ekb_async.models.wire.coerce import CHINA
from ekb_async.sandbox import Sandbox
from tests.support.command import PNG, ekb, ekb_process, finished, start
from tests.support.invoice_files import zipped
from tests.support.invoice_folders import as_pdf, as_xml
from tests.support.ledgers import add_invoices
from tests.support.watched_log import WatchedLog


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Two files, and one that is not an invoice, in a manifest."""
    for name, content in (("a.png", PNG + b"a"), ("b.png", PNG + b"b"), ("bad.png", b"no image")):
        (tmp_path / name).write_bytes(content)
    path = tmp_path / "manifest.csv"
    path.write_text("kind,file,staff_id,ref\n" + "".join(f"verify,{n}.png,corp:staff,{n}\n" for n in ("a", "b", "bad")))
    return path


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """The path of the backlog."""
    return tmp_path / "backlog.sqlite"


def names(directory: Path) -> list[str]:
    """Return the names in a directory."""
    return [path.name for path in directory.iterdir()]


def read_table(path: Path) -> list[dict[str, str]]:
    """Return the lines of an exported CSV file."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


async def counted(db: Path) -> dict[str, str]:
    """Return the count of each state in `ekb backlog status`."""
    status = await ekb("backlog", "status", db)
    assert status.status == 0
    return dict(line.split()[:2] for line in status.output.decode().splitlines()[:4])


@pytest.mark.process
@pytest.mark.slow
async def test_from_manifest_to_export(manifest: Path, db: Path) -> None:
    """Add, run, status, export: failed rows make the run end with status 1 and are named with their reason."""
    async with Sandbox(verify_rate=0) as box:
        added = await ekb_process("backlog", "add", db, manifest)
        assert (added.status, added.output) == (0, b"")
        assert "3 rows added" in added.messages
        ran = await ekb_process("backlog", "run", db, "--verify-rate", "1000", box=box)
    assert ran.status == 1
    assert "2 done, 1 failed" in ran.messages
    assert "RecognitionError" in ran.messages
    assert await counted(db) == {"pending": "0", "running": "0", "done": "2", "failed": "1"}
    output = db.with_name("results.jsonl")
    assert (await ekb_process("backlog", "export", db, output)).status == 0
    assert {msgspec.json.decode(line)["ref"] for line in output.read_bytes().splitlines()} == {"a", "b", "bad"}
    table = db.with_name("results.csv")
    assert (await ekb_process("backlog", "export", db, table)).status == 0
    assert len(read_table(table)) == 3


async def test_retry_makes_failed_rows_pending(manifest: Path, db: Path) -> None:
    """After `retry` the next run makes only the calls that had failed."""
    async with Sandbox(verify_rate=0) as box:
        await ekb("backlog", "add", db, manifest)
        await ekb("backlog", "run", db, "--verify-rate", "1000", box=box)
        calls = box.count("verify")
        again = await ekb("backlog", "retry", db)
        assert "1 row is" in again.messages
        assert (await ekb("backlog", "run", db, "--verify-rate", "1000", box=box)).status == 1
        assert box.count("verify") < 2 * calls


async def test_rows_that_wait_for_another_day(db: Path) -> None:
    """`run` ends well and says how many rows wait until when, as `status` does; `retry --waiting` ends the wait."""
    tomorrow = f"{datetime.now(CHINA) + timedelta(days=1):%Y%m%d}"
    path = db.with_name("m.csv")
    path.write_text(f"kind,number,date\nverify_by_fields,unknown1,{tomorrow}\n")
    async with Sandbox(verify_rate=0) as box:
        assert "1 row added" in (await ekb("backlog", "add", db, path)).messages
        ran = await ekb("backlog", "run", db, "--verify-rate", "1000", box=box)
        assert ran.status == 0
        assert "1 row waiting until 20" in ran.messages
        assert "--files DIR" not in ran.messages
        text = (await ekb("backlog", "status", db)).output.decode()
        assert "1 row waiting until 20" in text
        (status,) = (await ekb("backlog", "status", db, "--json")).lines
        assert (status["waiting"]["rows"], status["tenants"][0]["waiting"]) == (1, 1)
        assert datetime.fromisoformat(status["waiting"]["first"]) > datetime.now(CHINA)
        assert "0 rows are pending again" in (await ekb("backlog", "retry", db)).messages
        assert "1 row is due now" in (await ekb("backlog", "retry", db, "--waiting")).messages
        await ekb("backlog", "run", db, "--verify-rate", "1000", box=box)
        assert box.count("verify_by_fields") == 2
        assert (await ekb("backlog", "retry", db, "--waiting", "--unknown")).status == 2


async def test_filling_from_the_vendor(db: Path) -> None:
    """`add` takes the invoices of the ledger or of documents from the vendor; adding them again adds nothing."""
    async with Sandbox() as box:
        add_invoices(box.vendor, range(26))
        box.vendor.add_document(id="f1", code="B1", invoices=["c:1:1", "c:1:2"])
        box.vendor.add_document(id="f2", code="B2", type="loan", invoices=["c:1:3"])
        for expected in (
            "ledger: 29 rows added\n  29 calls to make\n",
            "ledger: 0 rows added\n  29 rows were there already, and were not added again\n",
        ):
            assert expected in (await ekb("backlog", "add", db, "--ledger", box=box)).messages
        # The ledger has the invoices of the documents as well.
        added = await ekb("backlog", "add", db, "--documents", "--type", "loan", "--kind", "url", box=box)
        assert "loan documents: 1 row added" in added.messages
        options = ("--documents", "--since", "2020-01-01", "--kind", "url", "--kind", "verify_by_id")
        assert "expense documents: 4 rows added" in (await ekb("backlog", "add", db, *options, box=box)).messages
        late = await ekb("backlog", "add", db, "--documents", "--since", "20990101", box=box)
        assert (late.status, "since must not be in the future" in late.messages) == (2, True)
    assert (await counted(db))["pending"] == "34"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ((), "give a folder, an archive, a file or a manifest, --flows with a file of document codes, --ledger, or"),
        (("--ledger", "--since", "2024-01-01"), "--since belongs to --documents"),
        (("--ledger", "--type", "loan"), "--type belongs to --documents"),
        (("--documents", "--type", "x"), "type must be one of expense"),
        (("--documents", "--since", "yesterday"), "Invalid value for '--since'"),
        (("--ledger", "--kind", "ocr"), "kind must be one of url, detail, download, verify_by_id"),
        (("--kind", "url", "--ledger", "m.csv"), "with --kind, add files and what the vendor has by two commands"),
        (("--kind", "ocr", "--kind", "verify", "m.csv"), "files are added for one --kind at a time"),
    ],
)
async def test_options_that_do_not_fit(db: Path, options: tuple[str, ...], reason: str) -> None:
    """Options that belong to another one, or have a wrong value, are refused with status 2."""
    async with Sandbox() as box:
        refused = await ekb("backlog", "add", db, *options, box=box)
    assert refused.status == 2
    assert reason in " ".join(refused.messages.replace("│", " ").split())


async def test_permission_missing_keeps_everything(manifest: Path, db: Path) -> None:
    """A run that cannot succeed ends with status 3, the hint and how to go on; nothing counts as failed."""
    async with Sandbox(verify_rate=0, permissions=set()) as box:
        await ekb("backlog", "add", db, manifest)
        stopped = await ekb("backlog", "run", db, box=box)
        assert stopped.status == 3
        assert "发票查验" in stopped.messages
        assert f"ekb backlog run {db}" in stopped.messages
        box.permissions.update({"ocr", "verify"})
        assert "2 done, 1 failed" in (await ekb("backlog", "run", db, "--verify-rate", "1000", box=box)).messages


@pytest.mark.process
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
async def test_interrupted_run_goes_on(manifest: Path, db: Path, stop: signal.Signals) -> None:
    """Ctrl-C and SIGTERM let calls in progress be recorded and end with 130; the next run makes the rest."""
    await ekb("backlog", "add", db, manifest)
    async with Sandbox(verify_rate=0, latency=0.5) as box:
        box.log = log = WatchedLog()
        process = await start("backlog", "run", db, box=box)
        await log.arrival("verify", 1).wait()
        process.send_signal(stop)
        stopped = await finished(process)
        assert stopped.status == 130
        assert f"Go on with: ekb backlog run {db}" in stopped.messages
        counts = await counted(db)
        assert (counts["running"], counts["done"]) == ("0", str(box.vendor.billed["verify"].total()))
        done = await ekb("backlog", "run", db, "--verify-rate", "1000", box=box)
        assert "2 done, 1 failed" in done.messages
        assert box.vendor.billed["verify"].total() == 2


@pytest.mark.process
async def test_interrupted_twice_ends_at_once(manifest: Path, db: Path) -> None:
    """A second Ctrl-C does not wait for answers, and leaves no row running."""
    await ekb("backlog", "add", db, manifest)
    async with Sandbox(latency=60) as box:
        box.log = log = WatchedLog()
        process = await start("backlog", "run", db, box=box)
        await log.arrival("verify", 1).wait()
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        while line := await process.stderr.readline():
            if b"Interrupt again to end at once" in line:
                break
        process.send_signal(signal.SIGINT)
        stopped = await finished(process)
    assert stopped.status == 130
    assert f"Go on with: ekb backlog run {db}" in stopped.messages
    assert await counted(db) == {"pending": "3", "running": "0", "done": "0", "failed": "0"}


async def test_a_mistyped_manifest_makes_no_backlog(manifest: Path, db: Path) -> None:
    """If one manifest does not exist, none is added: status 2."""
    done = await ekb("backlog", "add", db, manifest, "missing.csv")
    assert done.status == 2
    assert "missing.csv" in done.messages
    assert "backlog.sqlite" not in names(db.parent)


@pytest.mark.parametrize("command", [["run"], ["status"], ["retry"], ["export", "out.csv"]])
async def test_a_mistyped_backlog_is_not_made(db: Path, command: list[str]) -> None:
    """Only `add` creates a backlog; other commands refuse a file that does not exist: status 2."""
    name, *rest = command
    async with Sandbox() as box:
        done = await ekb("backlog", name, db, *rest, box=box)
    assert done.status == 2
    assert str(db) in done.messages
    assert names(db.parent) == []


@pytest.fixture
def wrong_manifest(manifest: Path) -> Path:
    """A manifest whose second row names a missing file."""
    manifest.write_text("kind,file\nocr,a.png\nocr,missing.png\n")
    return manifest


async def test_wrong_manifest_names_the_place(wrong_manifest: Path, db: Path) -> None:
    """A malformed row is named with line and column, and nothing of its file is added: status 2."""
    done = await ekb("backlog", "add", db, wrong_manifest)
    assert done.status == 2
    assert "line 3" in done.messages
    assert await counted(db) == {"pending": "0", "running": "0", "done": "0", "failed": "0"}


async def test_impossible_rate(manifest: Path, db: Path) -> None:
    """A rate out of range names its field: status 2."""
    await ekb("backlog", "add", db, manifest)
    async with Sandbox() as box:
        done = await ekb("backlog", "run", db, "--ocr-rate", "0", box=box)
    assert done.status == 2
    assert "ocr_rate" in done.messages


async def test_export_that_cannot_be_written(manifest: Path, db: Path) -> None:
    """An output of unknown type or in a missing directory gives a message, not a traceback: status 2."""
    await ekb("backlog", "add", db, manifest)
    for output in ("results.doc", db.parent / "nowhere" / "results.csv"):
        assert (await ekb("backlog", "export", db, output)).status == 2


async def test_status_says_why_and_what_to_do(manifest: Path, db: Path) -> None:
    """`status` groups failed rows by cause with a hint, as text and as JSON; `retry --cause` selects one of them."""
    async with Sandbox(verify_rate=0) as box:
        await ekb("backlog", "add", db, manifest)
        await ekb("backlog", "run", db, "--verify-rate", "1000", box=box)
    words = (await ekb("backlog", "status", db)).output.decode()
    assert "1 row failed: Not recognised (RecognitionError): 识别失败\n" in words
    found = msgspec.json.decode((await ekb("backlog", "status", db, "--json")).output)
    assert found["counts"] == {"pending": 0, "running": 0, "done": 2, "failed": 1}
    assert found["maybe_billed"] == 0
    (cause,) = found["causes"]
    assert (cause["error_type"], cause["rows"]) == ("RecognitionError", 1)
    assert cause["hint"]
    assert cause["hint"] in words
    assert "0 rows" in (await ekb("backlog", "retry", db, "--cause", "ServerError")).messages
    assert "1 row is" in (await ekb("backlog", "retry", db, "--cause", "RecognitionError")).messages


async def test_exports_and_report_in_two_languages(manifest: Path, db: Path) -> None:
    """`export` takes state, kind and language; `report` writes a page that needs no network."""
    async with Sandbox(verify_rate=0) as box:
        await ekb("backlog", "add", db, manifest)
        await ekb("backlog", "run", db, "--verify-rate", "1000", box=box)
    table = db.with_name("done.csv")
    exported = await ekb("backlog", "export", db, table, "--state", "done", "--kind", "verify", "--lang", "zh")
    assert "已写入 2 行" in exported.messages
    assert {line["状态"] for line in read_table(table)} == {"已完成"}
    assert (await ekb("backlog", "export", db, db.with_name("out.xlsx"))).status == 0
    assert (await ekb("backlog", "export", db, db.with_name("out.doc"))).status == 2
    page = db.with_name("page.html")
    for lang, word in (("en", "<html lang="), ("zh", "识别")):
        assert (await ekb("backlog", "report", db, "-o", page, "--lang", lang)).status == 0
        text = page.read_text(encoding="utf-8")
        assert word in text
        assert "src=" not in text


@pytest.mark.process
@pytest.mark.realtime
async def test_two_runs_keep_one_pace(tmp_path: Path, db: Path) -> None:
    """Two commands at once on one backlog, and a third right behind them, are never refused by a strict vendor.

    The vendor's rate is less than two separate paces would use, and allows for a start that is delayed on its way.
    """
    rows = "".join(f"ocr,https://f.example/{number}.png\n" for number in range(30))
    (tmp_path / "m.csv").write_text(f"kind,file\n{rows}")
    (tmp_path / "n.csv").write_text("kind,file\nocr,https://f.example/late.png\n")
    async with Sandbox(ocr_rate=16) as box:
        await ekb("backlog", "add", db, tmp_path / "m.csv")
        processes = [await start("backlog", "run", db, "--ocr-rate", "10", box=box) for _ in range(2)]
        ended = [await finished(process) for process in processes]
        await ekb("backlog", "add", db, tmp_path / "n.csv")
        ended.append(await ekb("backlog", "run", db, "--ocr-rate", "10", box=box))
        assert [each.status for each in ended] == [0, 0, 0]
        assert [entry.status for entry in box.log if entry.call == "ocr"] == [200] * 31
    assert (await counted(db))["done"] == "31"


async def test_documents_are_added_by_their_codes(tmp_path: Path, db: Path) -> None:
    """`add --flows` fills the backlog with the invoices of documents, and names codes that have none."""
    (tmp_path / "codes.txt").write_text("B1\nB2\nB3\n")
    async with Sandbox() as box:
        box.vendor.add_flow(code="B1", flow_id="F1", invoice_ids=["corp:1:1", "corp:1:2"])
        box.vendor.add_flow(code="B2", flow_id="F2", invoice_ids=["corp:1:3"])
        added = await ekb("backlog", "add", db, "--flows", tmp_path / "codes.txt", "--kind", "download", box=box)
        assert "3 rows added" in added.messages
        assert "1 code is unknown or without invoices: B3" in added.messages
        files = tmp_path / "files"
        ran = await ekb("backlog", "run", db, box=box)
        assert (ran.status, "--files DIR" in ran.messages) == (0, True)
        assert (await ekb("backlog", "run", db, "--files", files, box=box)).status == 0
        assert len(names(files)) == 3
    assert (await ekb("backlog", "add", db)).status == 2


@pytest.mark.parametrize(
    "options",
    [
        ["--ledger", "--kind", "verify"],
        ["--documents", "--type", "nonsense"],
        ["--documents", "--since", "2999-01-01"],
        ["--flows", "codes.txt", "--kind", "verify_by_id"],
    ],
)
async def test_a_wrong_option_adds_nothing(
    tmp_path: Path, manifest: Path, db: Path, options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be added is refused before a backlog is created or a manifest is added."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "codes.txt").write_text("B1\n")
    async with Sandbox() as box:
        assert (await ekb("backlog", "add", db, manifest, *options, box=box)).status == 2
    assert db.name not in names(db.parent)


async def test_without_keys_nothing_is_added(manifest: Path, db: Path) -> None:
    """If the keys are missing that the ledger needs, no backlog is created."""
    assert (await ekb("backlog", "add", db, manifest, "--ledger")).status == 2
    assert db.name not in names(db.parent)


@pytest.mark.process
async def test_folders_archives_and_files_are_added(db: Path, tmp_path: Path) -> None:
    """A source is what it is by its content; what is left out is named, and files of one invoice share a call."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.pdf").write_bytes(as_pdf(1))
    (tmp_path / "in" / "Thumbs.db").write_bytes(b"no invoice")
    (tmp_path / "in" / "notes.txt").write_bytes(b"no invoice")
    (tmp_path / "b.xml").write_bytes(as_xml(2))
    (tmp_path / "c.zip").write_bytes(zipped([("票/a.xml", as_xml(1)), ("票/d.pdf", as_pdf(3))]))
    sources = (tmp_path / "in", tmp_path / "b.xml", tmp_path / "c.zip")
    without = await ekb("backlog", "add", db, *sources)
    assert (without.status, "verify needs a staff_id" in without.messages) == (2, True)
    added = await ekb("backlog", "add", db, *sources, "--staff-id", "corp:s1")
    words = " ".join(added.messages.split())
    assert added.status == 0, words
    assert "in: 1 row added 1 call to make 2 files left out left out: notes.txt: no invoice file" in words
    assert "left out: Thumbs.db: it is hidden" in words
    assert "b.xml: 1 row added" in words
    assert "c.zip: 2 rows added 1 call to make 1 row is another file of an invoice, and shares its call" in words
    assert (tmp_path / f"{db.name}.files").is_dir()
    again = await ekb("backlog", "add", db, *sources, "--staff-id", "corp:s1")
    assert again.messages.count(" 0 rows added") == 3
    async with Sandbox(staff={"corp:s1"}, verify_rate=0) as box:
        ran = await ekb("backlog", "run", db, "--verify-rate", "1000", box=box)
        assert ran.status == 0, ran.messages
        assert box.count("verify") + box.count("verify_by_fields") == 3
    table = tmp_path / "out.csv"
    assert (await ekb("backlog", "export", db, table)).status == 0
    assert "c.zip/票/d.pdf" in table.read_text(encoding="utf-8")
    await ekb("backlog", "export", db, table, "--lang", "zh")
    assert "所在压缩包" in table.read_text(encoding="utf-8").splitlines()[0]


async def test_a_person_that_cannot_be_meant(db: Path, tmp_path: Path) -> None:
    """A wrong --staff-id is refused before anything is added."""
    path = tmp_path / "m.csv"
    path.write_text("kind,file\n")
    refused = await ekb("backlog", "add", db, path, "--staff-id", "nobody@")
    assert (refused.status, "this is no e-mail address" in refused.messages) == (2, True)
