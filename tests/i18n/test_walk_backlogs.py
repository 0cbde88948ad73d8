"""A walk through backlogs, their exports and their page, in both languages."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from ekb_async.sandbox import Fault, Sandbox
from tests.support.backlogs import manifest
from tests.support.command import PNG
from tests.support.invoice_files import SAMPLES, encrypted_pdf, platform_xml, zipped
from tests.support.troubled_backlog import troubled_backlog
from tests.support.walk import CHINESE_DATA, ENGLISH_DATA, Walk


def _files(directory: Path) -> Iterator[tuple[str, bytes]]:
    yield "digital.xml", (SAMPLES / "digital.xml").read_bytes()
    yield "two_invoices.pdf", (SAMPLES / "two_invoices.pdf").read_bytes()
    yield "bad_dtd.xml", (SAMPLES / "bad_dtd.xml").read_bytes()
    yield "damaged.pdf", b"%PDF-1.4\nnothing"
    yield "encrypted.pdf", encrypted_pdf()
    yield "damaged.png", PNG
    yield "a.rar", b"Rar!\x1a\x07\x01\x00"
    yield "a.7z", b"7z\xbc\xaf\x27\x1c"
    yield "a.ofd", zipped([("OFD.xml", "<a/>")])
    yield "a.zip", zipped([("nothing.txt", "nothing")])
    yield "word.docx", zipped([("[Content_Types].xml", "<a/>")])
    yield "empty.pdf", b""
    yield ".hidden.pdf", b"%PDF"
    yield "list.csv", b"kind\n"
    yield "other.exe", b"MZ"
    yield "broken.zip", b"PK\x03\x04broken"


def _folder(directory: Path) -> Path:
    """Write a folder of files that are read, and of files that are left out for every reason."""
    folder = directory / "folder"
    folder.mkdir()
    for name, content in _files(directory):
        (folder / name).write_bytes(content)
    (folder / "link.pdf").symlink_to(folder / "nowhere.pdf")
    (folder / "out").symlink_to("/usr")
    (folder / "control\x01.pdf").write_bytes(b"%PDF")
    return folder


@pytest.mark.process
async def test_reading(walk: Walk, tmp_path: Path) -> None:
    """What files say of themselves, and why others cannot be read."""
    folder = _folder(tmp_path)
    walk.data += ["bad_dtd", "two_invoices"]
    await walk.ekb("read", *(folder / name for name, _ in _files(tmp_path)))
    await walk.ekb("read", tmp_path)
    await walk.ekb("read", tmp_path / "missing.pdf")


_WRONG_MANIFESTS = {
    "empty.csv": "",
    "twice.csv": "kind,file,kind\n",
    "no-kind.csv": "file,spalte\na.png,1\n",
    "unknown.csv": "one,two\n1,2\n",
    "words.csv": "kind,file,invoice_id,staff_id,code,number,date,amount\n"
    "ocr,,,,,,,\nverify,https://a/b.png,,,,,,\nurl,,,,,,,\nOCR2,,,,,,,\nocr,missing.png,,,,,,\nocr,.,,,,,,\n"
    "ocr,ftp://a/b.png,,,,,,\nocr,https://,,,,,,\nurl,,c:\x01:2,,,,,\nurl,,c:1:2,,,,,,more\n"
    "verify_by_fields,,,,,1.2E+19,20240101,1\nverify_by_fields,,,,1,12345678,2024,1\n"
    "verify_by_fields,,,,1,12345678,20240101,much\nverify,https://a/b.png,,mail:x,,,,\n"
    "verify,https://a/b.png,,email:x,,,,\nverify,https://a/b.png,,phone:1,,,,\n"
    "verify_by_fields,,,,031001900204,00000001,20240101,9999999999999999999999999\n",
    "text.jsonl": '{not json\n["url"]\n{"kind":"url","invoice_id":true}\n{"kind":"url","id":"b"}\n',
    "old.xls": "x",
    "list.txt": "x",
    "broken.xlsx": "x",
    "long.csv": f"kind,invoice_id,ref\nurl,c:1:2,{'r' * 200_000}\n",
    "open.csv": 'kind,invoice_id,ref\nurl,c:1:2,"never closed\n',
}


@pytest.mark.process
async def test_wrong_sources(walk: Walk, box: Sandbox, tmp_path: Path) -> None:
    """Manifests, folders, archives and lists that cannot be added."""
    walk.data += ["never closed"]
    db = tmp_path / "b.sqlite"
    for name, content in _WRONG_MANIFESTS.items():
        (tmp_path / name).write_text(content)
        await walk.ekb("backlog", "add", db, tmp_path / name)
    utf_16 = tmp_path / "utf-16.csv"
    utf_16.write_bytes("kind,invoice_id\nurl,发票\n".encode("utf-32"))
    mixed = tmp_path / "mixed.csv"
    mixed.write_bytes("kind,invoice_id,ref\nurl,1,识别\nurl,2,".encode() + "识别".encode("gb18030") + b"\n")
    folder = _folder(tmp_path)
    for source in (utf_16, mixed, folder, tmp_path / "missing.csv", folder / "a.zip", folder / "broken.zip"):
        await walk.ekb("backlog", "add", db, source)
        await walk.ekb("backlog", "add", db, source, "--kind", "verify")
        await walk.ekb("backlog", "add", db, source, "--kind", "ocr")
    for options in (
        (),
        ("--ledger", "--flows", tmp_path / "list.txt"),
        ("--ledger", "--kind", "ocr"),
        ("--ledger", "--kind", "verify_by_id"),
        ("--documents", "--type", "expense"),
        ("--documents", "--type", "letters"),
        ("--flows", tmp_path / "missing.txt"),
        ("--flows", tmp_path / "list.txt"),
        ("--since", "2099-01-01", "--documents"),
    ):
        await walk.ekb("backlog", "add", db, *options, box=box)
    await walk.ekb("backlog", "add", "postgresql://nobody@127.0.0.1:1/none", folder)
    await walk.ekb("backlog", "add", "https://a/b", folder)


async def test_running(walk: Walk, box: Sandbox, tmp_path: Path) -> None:
    """Runs: done, failed, waiting, in doubt, bounded, without keys, and of a backlog that is away."""
    walk.data += ["王小明"]
    db = tmp_path / "b.sqlite"
    (tmp_path / "x.xml").write_text(platform_xml("25999900000000000017"), encoding="utf-8")
    rows = [f"ocr,{name}.png,,,," for name in "abcd"]
    for name in "abcd":
        (tmp_path / f"{name}.png").write_bytes(PNG + name.encode())
    rows += ["verify,x.xml,,corp:1001,,", "verify,a.png,,corp:gone,,", "url,,corp:1:1,,,", "download,,corp:1:1,,,"]
    await walk.ekb("backlog", "run", db, box=box)
    await walk.ekb("backlog", "add", db, manifest(tmp_path, *rows))
    await walk.ekb("backlog", "add", db, tmp_path / "m.csv")
    await walk.ekb("backlog", "run", db)
    await walk.ekb("backlog", "estimate", db, box=box)
    await walk.ekb("backlog", "estimate", db)
    for command in ("run", "estimate"):
        await walk.ekb("backlog", command, db, "--ocr-rate", "-1", box=box)
    fast = ("--ocr-rate", "1000", "--verify-rate", "1000")
    options: tuple[str, ...]
    await walk.ekb("backlog", "run", db, "--until", "tomorrow", box=box)
    await walk.ekb("backlog", "run", db, "--max-calls", "1", *fast, box=box)
    for options in (
        (),
        ("--per-day", "1", "--per-month", "2"),
        ("--tenant", "", "--per-day", "0"),
        ("--tenant", "\udcff", "--per-day", "0"),
        ("--per-day", "-1"),
        ("--json",),
    ):
        await walk.ekb("backlog", "budget", db, *options)
    await walk.ekb("backlog", "run", db, *fast, box=box)
    await walk.ekb("backlog", "status", db)
    await walk.ekb("backlog", "watch", db, "--once")
    for options in (("--remove",), ("--tenant", "", "--remove")):
        await walk.ekb("backlog", "budget", db, *options)
    (tmp_path / "d.png").unlink()
    box.faults.append(Fault.lost_answer(calls="ocr", times=1))
    await walk.ekb("-v", "backlog", "run", db, "--hold-unknown", "--ledger-first", *fast, box=box)
    await walk.ekb("backlog", "run", db, "--files", tmp_path / "files", *fast, box=box)
    for options in ((), ("--json",)):
        await walk.ekb("backlog", "status", db, *options)
        await walk.ekb("backlog", "list", db, *options)
        await walk.ekb("backlog", "estimate", db, *options, box=box)
    for options in (
        (),
        ("--unknown",),
        ("--waiting",),
        ("--cause", "StorageError"),
        ("--cause", ""),
        ("1", "2", "--yes"),
        ("999",),
    ):
        await walk.ekb("backlog", "retry", db, *options)
    for options in (
        ("--file", "a.png", "--yes"),
        ("--file", "none.png"),
        ("--from", "missing.xlsx"),
        ("--from", "m.csv"),
    ):
        await walk.ekb("backlog", "retry", db, *options)
    for options in ((), ("--max-age", "0s", "--need-run", "--on-this-host"), ("--max-age", "0s", "--json")):
        await walk.ekb("backlog", "health", db, *options)
    await walk.ekb("backlog", "health", db, "--max-age", "soon")
    await walk.ekb("backlog", "health", "postgresql://nobody@127.0.0.1:1/none", "--timeout", "0.2")
    await walk.ekb("backlog", "metrics", db, "--format", "json")
    await walk.ekb("backlog", "metrics", db, "--output", tmp_path / "m.csv")
    await walk.ekb("backlog", "free", db)
    await walk.ekb("backlog", "run", db, *fast, box=box, EKB_APP_SECURITY="wrong")
    box.permissions.clear()
    await walk.ekb("backlog", "run", db, *fast, box=box)
    for options in ((), ("--state", "done"), ("--state", "failed", "--yes"), ("1", "99"), ("--kind", "ocr", "--paid")):
        await walk.ekb("backlog", "remove", db, *options)
    for options in (
        ("30d",),
        ("30",),
        ("0m", "--no-summary", "--no-identities", "--dry-run"),
        ("0m", "--failed", "--compact", "--yes"),
        ("2999-01-01", "--no-identities", "--yes"),
    ):
        await walk.ekb("backlog", "purge", db, "--done-before", *options)
    await walk.ekb("backlog", "purge", "postgresql:///none", "--done-before", "1d", "--compact")
    await walk.ekb("backlog", "status", db)
    await walk.ekb("backlog", "copy", db, db)
    await walk.ekb("backlog", "copy", db, tmp_path / "copy.sqlite")
    await walk.ekb("backlog", "copy", tmp_path / "missing.sqlite", db)


async def test_wrong_backlogs(walk: Walk, picture: Path, tmp_path: Path) -> None:
    """Backlogs and files that are not there, or something else."""
    other = tmp_path / "other.sqlite"
    other.write_bytes(b"SQLite format 3\0" + bytes(1000))
    for db in (tmp_path / "missing.sqlite", tmp_path, picture, other, tmp_path / "no" / "b.sqlite"):
        for command in ("add", "status", "list", "estimate", "retry", "remove", "run", "budget", "health"):
            await walk.ekb("backlog", command, db, *([picture] if command == "add" else []))
        await walk.ekb("backlog", "export", db, tmp_path / "out.csv")
        await walk.ekb("backlog", "report", db)
        await walk.ekb("backlog", "metrics", db, "--format", "json")
    db = tmp_path / "b.sqlite"
    await walk.ekb("backlog", "add", db, picture, "--kind", "ocr")
    for output in ("out.txt", "b.sqlite", ".", "no/out.csv", "a.png"):
        await walk.ekb("backlog", "export", db, tmp_path / output)


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backlog with every kind of trouble, which the tests only look at."""
    directory = tmp_path_factory.mktemp("troubled")

    async def make() -> None:
        async with troubled_backlog(directory, tenants=True):
            pass

    asyncio.run(make())
    return directory / "b.sqlite"


def _written(directory: Path) -> list[Path]:
    return [path for path in directory.iterdir() if path.is_file()]


@pytest.mark.parametrize("suffix", [".csv", ".xlsx", ".parquet", ".jsonl"])
async def test_exports(walk: Walk, troubled: Path, tmp_path: Path, suffix: str) -> None:
    """Headings, names of states and kinds, causes, what to do, and names of sheets."""
    walk.know_only_labels((str(troubled.parent), *ENGLISH_DATA), CHINESE_DATA)
    await walk.ekb("backlog", "export", troubled, tmp_path / f"out{suffix}", *(["--lines"] if suffix == ".csv" else []))
    for path in _written(tmp_path):
        walk.look_at_file(path)


async def test_page(walk: Walk, troubled: Path, tmp_path: Path) -> None:
    """The page, with its charts and the texts for those who do not see it."""
    walk.know_only_labels((str(troubled.parent), *ENGLISH_DATA), CHINESE_DATA)
    await walk.ekb("backlog", "report", troubled, "--output", tmp_path / "page.html")
    walk.look_at_file(tmp_path / "page.html")


async def test_looking(walk: Walk, troubled: Path) -> None:
    """Rows, counts and estimates of a backlog with every kind of trouble."""
    walk.know_only_labels((str(troubled.parent), *ENGLISH_DATA), CHINESE_DATA)
    await walk.ekb("backlog", "watch", troubled, "--once")
    for command in ("status", "list", "estimate"):
        await walk.ekb("backlog", command, troubled)
        await walk.ekb("backlog", command, troubled, "--json")
    await walk.ekb("backlog", "list", troubled, "--warnings", "--limit", "300")
    await walk.ekb("backlog", "list", troubled, "--state", "failed", "--limit", "300")
