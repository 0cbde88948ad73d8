"""Downloads of invoices' files: complete or absent, under harmless names, and fetched once."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import sys
import traceback
import unicodedata
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import pytest

from ekb_async import (
    ConfigError,
    EkbConnectionError,
    EkbError,
    EkbSession,
    EkbTimeoutError,
    InvalidRequestError,
    InvoiceNotFoundError,
    Outcome,
    ResponseError,
    ServerError,
    SessionClosedError,
    SessionConfig,
    ThrottledError,
)
from ekb_async.client.limits import ClientLimits
from ekb_async.client.transport import AiohttpTransport
from ekb_async.sandbox import Fault, Sandbox
from ekb_async.sandbox.vendor.vendor import Vendor
from ekb_async.simulation import InMemoryTransport, VirtualTimeLoop
from ekb_async.storage.atomic_files import PartFile
from ekb_async.storage.limits import LIMITS
from tests.conftest import FAST, session_on
from tests.support.elsewhere import send_to
from tests.support.raw_server import server

PDF = b"%PDF-1.4 "

Seen = dict[str, Path | Exception | None]


async def fetched(ekb: EkbSession, ids: Iterable[str], directory: Path) -> Seen:
    """Download invoices; return the path or the error of each."""
    return {o.input: o.result or o.error async for o in ekb.download_invoices(ids, directory)}


def is_valid(name: str) -> bool:
    """Return whether every common file system accepts a name unchanged, as that of an ordinary file."""
    device = name.partition(".")[0].rstrip().upper()
    return (
        name.isprintable()
        and not any(character in '<>:"/\\|?*' for character in name)
        and name == name.strip(" .")
        and not name.startswith("-")
        and len(name.encode()) <= LIMITS.file_name_bytes
        and device not in {"CON", "PRN", "AUX", "NUL", "CONIN$", "COM1", "COM¹", "LPT9"}
    )


async def stall(_head: bytes, writer: asyncio.StreamWriter) -> None:
    """Send half of a file of two megabytes, then nothing more."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + bytes(1_000_000))
    await writer.drain()
    await asyncio.Event().wait()


def on_part(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Return an event that is set when a part of a file has been written to the disk."""
    loop, written, append = asyncio.get_running_loop(), asyncio.Event(), PartFile.append

    def note(part: PartFile, data: bytes | bytearray) -> None:
        append(part, data)
        loop.call_soon_threadsafe(written.set)

    monkeypatch.setattr(PartFile, "append", note)
    return written


def names_in(directory: Path) -> list[str]:
    """Return the names in a directory, hidden files included."""
    return sorted(path.name for path in directory.iterdir())


async def test_files_of_many_invoices(ekb: EkbSession, quick_box: Sandbox, tmp_path: Path) -> None:
    """Each invoice's file has its content and the vendor's name in its own; a missing directory is created."""
    contents = {f"c:1:{n}": PDF + bytes([n]) * (n * 10_000) for n in range(60)}
    for invoice_id, content in contents.items():
        quick_box.vendor.add_invoice(invoice_id, content=content, file_name="酒店 发票.pdf")
    seen = await fetched(ekb, contents, tmp_path / "new" / "files")
    assert set(seen) == set(contents)
    for invoice_id, path in seen.items():
        assert isinstance(path, Path)
        assert path.read_bytes() == contents[invoice_id]
        assert path.name.startswith("酒店 发票-")
        assert path.suffix == ".pdf"
    assert len(list((tmp_path / "new" / "files").iterdir())) == 60


async def test_running_again_fetches_only_what_is_missing(ekb: EkbSession, quick_box: Sandbox, tmp_path: Path) -> None:
    """A file that exists is not fetched again and keeps its path, also for another session."""
    ids = [f"c:1:{n}" for n in range(30)]
    first = await fetched(ekb, ids, tmp_path)
    lost = first["c:1:7"]
    assert isinstance(lost, Path)
    lost.unlink()
    async with session_on(quick_box) as another:
        assert await fetched(another, ids, tmp_path) == first
    assert quick_box.count("file") == 31


async def test_urls_are_requested_together(ekb: EkbSession, quick_box: Sandbox, tmp_path: Path) -> None:
    """300 files cost at most 6 requests for URLs."""
    await fetched(ekb, [f"c:1:{n}" for n in range(300)], tmp_path)
    assert quick_box.count("invoice_url") <= 6


@pytest.mark.slow
async def test_inputs_of_any_length(ekb: EkbSession, tmp_path: Path) -> None:
    """A stream takes at most 200 inputs ahead of the outcomes that were consumed; the input may be asynchronous."""
    taken = 0

    async def ids() -> AsyncIterator[str]:
        nonlocal taken
        for n in range(700):
            taken += 1
            yield f"c:1:{n}"

    seen = 0
    async for outcome in ekb.download_invoices(ids(), tmp_path):
        assert outcome.error is None
        seen += 1
        assert taken - seen <= 201
    assert seen == 700


async def test_an_input_that_fails(ekb: EkbSession, tmp_path: Path) -> None:
    """An error of the input iterator is raised after the outcomes of the inputs before it."""

    def ids() -> Iterator[str]:
        yield "c:1:1"
        yield "c:1:2"
        raise OSError("the list cannot be read")

    stream = ekb.download_invoices(ids(), tmp_path)
    assert {(await anext(stream)).input, (await anext(stream)).input} == {"c:1:1", "c:1:2"}
    with pytest.raises(OSError, match="list"):
        await anext(stream)


async def test_an_id_given_twice(ekb: EkbSession, quick_box: Sandbox, tmp_path: Path) -> None:
    """An ID is fetched once, also by concurrent callers, and each input has its own outcome."""
    outcomes = [o async for o in ekb.download_invoices(["c:1:1", "c:1:2", "c:1:1", "c:1:1"], tmp_path)]
    assert sorted(o.input for o in outcomes) == ["c:1:1", "c:1:1", "c:1:1", "c:1:2"]
    assert len({o.result for o in outcomes}) == 2
    assert quick_box.count("file") == 2
    downloads = ekb.downloads(tmp_path)
    assert len(set(await asyncio.gather(*(downloads.fetch("c:1:3") for _ in range(20))))) == 1
    assert quick_box.count("file") == 3


@pytest.mark.parametrize(
    "name",
    [
        "../../../etc/passwd",
        "..",
        ".",
        "",
        "/etc/cron.d/x",
        "C:\\Windows\\system32\\x.dll",
        "\\\\host\\share\\x.pdf",
        "c:x.pdf",
        "file.pdf:stream",
        "a/b\\c/",
        "CON",
        "con.pdf",
        "NUL.txt.pdf",
        "aux .x.pdf",
        "COM¹.2024.pdf",
        "conin$.x.pdf",
        "a\x00b.pdf",
        "a\r\nb\x1b[31m\x7f.pdf",
        "\u202egnp.exe",
        "trailing. . .",
        "trailing.pdf . ",
        "...hidden.pdf",
        ".pdf",
        "-rf.pdf",
        "~/.ssh/id",
        "%2e%2e%2fx.pdf",
        "x" * 300,
        "x" * 300 + ".pdf",
        "发" * 300 + ".pdf",
        "🧾" * 300 + ".pdf",
        "e\u0301" * 300 + ".pdf",
        "x." + "y" * 300,
        " . ",
        '<>:"|?*.pdf',
    ],
)
async def test_hostile_names(ekb: EkbSession, quick_box: Sandbox, tmp_path: Path, name: str) -> None:
    """Whatever the vendor's name is, there is one file with a harmless name in the directory, the same each time."""
    directory = tmp_path / "a" / "b" / "files"
    quick_box.vendor.add_invoice("c:1:1", content=PDF, file_name=name)
    path = (await fetched(ekb, ["c:1:1"], directory))["c:1:1"]
    assert isinstance(path, Path)
    assert path.parent == directory
    assert is_valid(path.name), path.name
    assert path.read_bytes() == PDF
    assert [file for *_, files in os.walk(tmp_path) for file in files] == [path.name]
    assert (await fetched(ekb, ["c:1:1"], directory))["c:1:1"] == path
    assert quick_box.count("file") == 1


async def test_equal_names(ekb: EkbSession, quick_box: Sandbox, tmp_path: Path) -> None:
    """Invoices whose names are equal, or equal to some file system, get different files, also concurrently."""
    names = ["发票.pdf", "Café.PDF", "CAFÉ.pdf", "cafe\u0301.pdf", "café.pdf", "a" * 300 + "1.pdf", "a" * 300 + "2.pdf"]
    ids = [f"c:1:{n}" for n in range(70)]
    for n, invoice_id in enumerate(ids):
        quick_box.vendor.add_invoice(invoice_id, content=PDF + invoice_id.encode(), file_name=names[n % len(names)])
    paths: dict[str, Path] = {}
    for invoice_id, path in (await fetched(ekb, ids, tmp_path)).items():
        assert isinstance(path, Path)
        assert path.read_bytes() == PDF + invoice_id.encode()
        paths[invoice_id] = path
    assert len({unicodedata.normalize("NFD", path.name).casefold() for path in paths.values()}) == 70


@pytest.mark.parametrize("kind", ["file", "directory", "nowhere"])
async def test_a_link_in_the_way(ekb: EkbSession, tmp_path: Path, kind: str) -> None:
    """A symbolic link at the file's path is replaced, not followed: its target stays unchanged."""
    directory, outside = tmp_path / "files", tmp_path / "outside"
    path = (await fetched(ekb, ["c:1:1"], directory))["c:1:1"]
    assert isinstance(path, Path)
    content = path.read_bytes()
    path.unlink()
    if kind == "file":
        outside.write_bytes(b"precious")
    elif kind == "directory":
        outside.mkdir()
    path.symlink_to(outside)
    assert (await fetched(ekb, ["c:1:1"], directory))["c:1:1"] == path
    assert not path.is_symlink()
    assert path.read_bytes() == content
    assert outside.is_dir() if kind == "directory" else outside.exists() == (kind == "file")
    if kind == "file":
        assert outside.read_bytes() == b"precious"


async def test_a_directory_in_the_way(ekb: EkbSession, tmp_path: Path) -> None:
    """A directory at the file's path fails that invoice alone."""
    path = (await fetched(ekb, ["c:1:1"], tmp_path))["c:1:1"]
    assert isinstance(path, Path)
    path.unlink()
    path.mkdir()
    seen = await fetched(ekb, ["c:1:1", "c:1:2"], tmp_path)
    assert isinstance(seen["c:1:1"], ConfigError)
    assert isinstance(seen["c:1:2"], Path)
    assert names_in(tmp_path) == sorted(each.name for each in (path, seen["c:1:2"]))


async def test_a_fresh_url_when_one_has_expired(ekb: EkbSession, quick_box: Sandbox, tmp_path: Path) -> None:
    """An expired URL is replaced by a fresh one."""
    quick_box.vendor.rules.invoice_url_lifetime = -5
    fetching = asyncio.create_task(fetched(ekb, ["c:1:1"], tmp_path))
    await quick_box.arrived("file")
    quick_box.vendor.rules.invoice_url_lifetime = 3600
    assert isinstance((await fetching)["c:1:1"], Path)
    assert quick_box.count("file") == quick_box.count("invoice_url") == 2


@pytest.mark.parametrize("status", [400, 403, 410])
async def test_urls_that_are_always_refused(ekb: EkbSession, quick_box: Sandbox, tmp_path: Path, status: int) -> None:
    """Fresh URLs are requested twice; then the invoice fails, and no file is left."""
    quick_box.faults.append(Fault.answer(status, calls="file"))
    error = (await fetched(ekb, ["c:1:1"], tmp_path))["c:1:1"]
    assert isinstance(error, InvalidRequestError)
    assert (error.status, error.attempts) == (status, 3)
    assert quick_box.count("file") == 3
    assert names_in(tmp_path) == []


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault.cut_off, ResponseError),
        (Fault.reset, EkbConnectionError),
        (Fault.lost_answer, EkbConnectionError),
        (Fault.gateway_page, ServerError),
        (lambda **strikes: Fault.answer(429, headers={"Retry-After": "0"}, **strikes), ThrottledError),
    ],
)
async def test_faults_on_the_way(tmp_path: Path, fault: Callable[..., Fault], kind: type[EkbError]) -> None:
    """A passing fault is retried, a lasting one is the outcome. A body that was cut off is never taken for a file."""
    content = os.urandom(1_500_000)
    async with Sandbox() as box, session_on(box, max_tries=3) as ekb:
        box.vendor.add_invoice("c:1:1", content=content, file_name="a.bin")
        box.faults.append(fault(calls="file", times=2))
        path = (await fetched(ekb, ["c:1:1"], tmp_path / "passing"))["c:1:1"]
        assert isinstance(path, Path)
        assert path.read_bytes() == content
        assert box.count("file") == 3
        box.faults.append(fault(calls="file"))
        error = (await fetched(ekb, ["c:1:1"], tmp_path / "lasting"))["c:1:1"]
        assert isinstance(error, kind)
        assert error.attempts == 3
        assert list((tmp_path / "lasting").iterdir()) == []


async def test_a_file_without_content(quick_box: Sandbox, tmp_path: Path) -> None:
    """An empty body is an error, since no invoice has an empty file; a body that is too long is not kept either."""
    quick_box.vendor.add_invoice("c:1:1", content=b"", file_name="a.pdf")
    quick_box.vendor.add_invoice("c:1:2", content=bytes(2000), file_name="a.pdf")
    config = SessionConfig(**FAST)
    limits = ClientLimits(max_file_bytes=1000)
    transport = AiohttpTransport(quick_box.base_url, config, None, limits=limits)
    async with EkbSession(quick_box.credentials, config=config, transport=transport) as ekb:
        seen = await fetched(ekb, ["c:1:1", "c:1:2"], tmp_path)
    assert all(isinstance(error, ResponseError) for error in seen.values())
    assert names_in(tmp_path) == []


async def test_invoices_without_a_file(
    ekb: EkbSession, quick_box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unknown invoice, one without a URL, one whose file is gone and a wrong ID each fail alone with their error."""
    quick_box.faults.append(Fault.answer(404, calls="file", times=1))
    seen = await fetched(ekb, ["unknown", "c:1:1", "bad:1", " "], tmp_path)
    assert isinstance(seen["unknown"], InvoiceNotFoundError)
    assert isinstance(seen["c:1:1"], InvoiceNotFoundError)
    assert isinstance(seen["bad:1"], InvalidRequestError)
    assert isinstance(seen[" "], ConfigError)
    assert isinstance((await fetched(ekb, ["c:1:1"], tmp_path))["c:1:1"], Path)
    for url, kind in (("", InvoiceNotFoundError), ("file:///etc/passwd", ResponseError), ("http://[x", ResponseError)):
        with monkeypatch.context() as patch:
            send_to(quick_box, url, patch)
            assert isinstance((await fetched(ekb, ["c:1:2"], tmp_path))["c:1:2"], kind)


@pytest.mark.parametrize(
    "url",
    [
        "http://oss..example.com/f",
        "http://.a/f",
        "http://a:99999/f",
        f"http://{'x' * 64}.example.com/f",
        "http://xn--a/",
    ],
)
async def test_hosts_that_cannot_be(
    ekb: EkbSession, quick_box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    """A URL with an impossible host or port fails one file, also if it comes from a redirect."""

    async def redirect(_head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 302 Found\r\nLocation: {url}\r\nContent-Length: 0\r\n\r\n".encode())

    async with server(redirect) as (here, _):
        for target in (f"{url}?Signature=5ig", f"{here}/f.pdf"):
            with monkeypatch.context() as patch:
                send_to(quick_box, target, patch)
                error = (await fetched(ekb, ["c:1:2"], tmp_path))["c:1:2"]
            assert isinstance(error, EkbError)
            assert "5ig" not in str(error)
    assert names_in(tmp_path) == []


async def test_a_page_is_no_file(
    ekb: EkbSession, quick_box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy's login page with status 200 is not kept as the invoice."""

    async def answer(_head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>")

    async with server(answer) as (here, _):
        send_to(quick_box, f"{here}/a.pdf", monkeypatch)
        assert isinstance((await fetched(ekb, ["c:1:1"], tmp_path))["c:1:1"], ResponseError)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "name", "is_file"),
    [
        (b"%PDF-1.4 an invoice", "a.pdf", True),
        (b"<html>an invoice</html>", "a.html", True),
        (b"<html>504</html>", "a.pdf", False),
        (b"<h1>504</h1>", "a.pdf", False),
        (b"please log in", "a.ofd", False),
    ],
)
async def test_a_file_that_its_host_calls_a_page(
    content: bytes,
    name: str,
    is_file: bool,
    ekb: EkbSession,
    quick_box: Sandbox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The content decides whether it is the file, not the media type: many hosts call everything a page."""

    async def answer(_head: bytes, writer: asyncio.StreamWriter) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(content)}\r\n\r\n"
        writer.write(head.encode() + content)

    quick_box.vendor.add_invoice("c:1:1", content=PDF, file_name=name)
    async with server(answer) as (here, _):
        send_to(quick_box, f"{here}/get", monkeypatch)
        result = (await fetched(ekb, ["c:1:1"], tmp_path))["c:1:1"]
    if is_file:
        assert isinstance(result, Path)
        assert result.read_bytes() == content
    else:
        assert isinstance(result, ResponseError)


async def test_a_host_that_drips(quick_box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transfer that is too slow times out, although its host is never silent."""

    async def answer(_head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with server(answer) as (here, _), session_on(quick_box, request_timeout=0.3, max_tries=1) as ekb:
        send_to(quick_box, f"{here}/a.pdf", monkeypatch)
        assert isinstance((await fetched(ekb, ["c:1:1"], tmp_path))["c:1:1"], EkbTimeoutError)


@pytest.mark.parametrize("name", ["invoice.exe", "invoice.pdf.lnk", "invoice.html", "invoice.SCF"])
async def test_no_file_can_be_run_by_opening_it(ekb: EkbSession, quick_box: Sandbox, tmp_path: Path, name: str) -> None:
    """Suffixes of programs and pages become part of the name."""
    quick_box.vendor.add_invoice("c:1:1", content=PDF, file_name=name)
    path = (await fetched(ekb, ["c:1:1"], tmp_path))["c:1:1"]
    assert isinstance(path, Path)
    assert path.name.startswith(f"{name}-")
    assert path.suffix.lower() not in {".exe", ".lnk", ".html", ".scf"}


async def test_a_redirect_carries_nothing_along(
    ekb: EkbSession, quick_box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A redirect is followed; neither request has a token, and the second has nothing of the first URL."""

    async def answer(_head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n%PDF")

    async with server(answer) as (there, redirected_heads):

        async def redirect(_head: bytes, writer: asyncio.StreamWriter) -> None:
            head = f"HTTP/1.1 302 Found\r\nLocation: {there}/x.pdf\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"
            writer.write(head.encode())

        async with server(redirect) as (here, heads):
            send_to(quick_box, f"{here}/a%2Bb.pdf?Signature=5ig%2F%2B%3D&x=发 票", monkeypatch)
            path = (await fetched(ekb, ["c:1:1"], tmp_path))["c:1:1"]
    assert isinstance(path, Path)
    assert path.read_bytes() == b"%PDF"
    assert heads[0].startswith(b"GET /a%2Bb.pdf?Signature=5ig%2F%2B%3D&x=%E5%8F%91%20%E7%A5%A8 HTTP/1.1\r\n")
    assert redirected_heads[0].startswith(b"GET /x.pdf HTTP/1.1\r\n")
    for head in (heads[0], redirected_heads[0]):
        names = {line.partition(b":")[0].lower() for line in head.split(b"\r\n")[1:] if line}
        assert names <= {b"host", b"accept", b"accept-encoding", b"user-agent"}
    assert b"5ig" not in redirected_heads[0]


async def test_no_token_with_an_injected_client(quick_box: Sandbox, tmp_path: Path) -> None:
    """Files are also fetched through an injected client session, by their URLs without a token."""
    requests: list[tuple[str, str]] = []

    async def note(_: object, _context: SimpleNamespace, start: aiohttp.TraceRequestStartParams) -> None:
        requests.append((start.method, str(start.url)))

    tracing = aiohttp.TraceConfig()
    tracing.on_request_start.append(note)
    async with (
        aiohttp.ClientSession(trace_configs=[tracing]) as client,
        EkbSession(quick_box.credentials, base_url=quick_box.base_url, client_session=client) as ekb,
    ):
        assert isinstance((await fetched(ekb, ["c:1:1"], tmp_path))["c:1:1"], Path)
    files = [url for method, url in requests if method == "GET"]
    assert len(files) == 1
    assert "Signature=" in files[0]
    assert "accessToken" not in files[0]


@pytest.mark.parametrize(
    "fault",
    [
        Fault.answer(403, "SignatureDoesNotMatch Signature=5ignature", calls="file"),
        Fault.gateway_page(calls="file"),
        Fault.cut_off(calls="file"),
        Fault.reset(calls="file"),
        Fault.delay(60, calls="file"),
    ],
)
async def test_no_signature_is_shown(
    tmp_path: Path, fault: Fault, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whatever fails, no message, repr, traceback or log shows the signature of a URL."""
    caplog.set_level(logging.DEBUG)
    asyncio.get_running_loop().set_debug(True)
    texts = []
    async with (
        Sandbox(faults=[fault]) as box,
        session_on(box, max_tries=2, request_timeout=0.1, close_timeout=0) as ekb,
    ):
        async for outcome in ekb.download_invoices(["c:1:1"], tmp_path):
            assert isinstance(outcome.error, EkbError)
            texts += [repr(outcome), str(outcome.error), repr(vars(outcome.error))]
            texts += traceback.format_exception(outcome.error)
    output = capfd.readouterr()
    for text in [*texts, caplog.text, output.out, output.err]:
        assert not any(secret in text for secret in ("Signature=", "5ignature", "Expires=", "STS.")), text


async def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk fails all files with a clear error; the rest is not fetched, and no partial file is left."""

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async with Sandbox() as box, session_on(box, download_in_flight=3) as ekb:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            seen = await fetched(ekb, [f"c:1:{n}" for n in range(500)], tmp_path)
        for error in seen.values():
            assert isinstance(error, ConfigError)
            assert error.for_all
            assert str(tmp_path) in str(error)
            assert "No space left" in str(error)
        assert len(seen) == 500
        assert box.count("file") <= 3
        assert names_in(tmp_path) == []
        assert isinstance((await fetched(ekb, ["c:1:1"], tmp_path))["c:1:1"], Path)


async def test_a_directory_that_cannot_be_one(ekb: EkbSession, quick_box: Sandbox, tmp_path: Path) -> None:
    """An unusable directory is reported before anything is sent, as are arguments of another type."""
    file = tmp_path / "file"
    file.write_bytes(b"")
    for directory in (file, file / "below", Path("a\x00b")):
        with pytest.raises(ConfigError, match="cannot be kept there"):
            await fetched(ekb, ["c:1:1"], directory)
    with pytest.raises(ConfigError, match="directory"):
        ekb.download_invoices(["c:1:1"], None)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="invoice_ids"):
        ekb.download_invoices("c:1:1", tmp_path)
    assert quick_box.log == []


async def test_breaking_off(
    ekb: EkbSession, quick_box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing the iterator, or cancelling its task, breaks off running transfers and leaves no partial file."""
    async with server(stall) as (host, _):
        send_to(quick_box, f"{host}/a.pdf", monkeypatch)
        for leave in ("close", "cancel"):
            written = on_part(monkeypatch)
            stream = ekb.download_invoices(["", *(f"c:1:{n}" for n in range(20))], tmp_path)
            assert isinstance((await anext(stream)).error, ConfigError)
            await written.wait()
            assert names_in(tmp_path)
            if leave == "close":
                await stream.aclose()
            else:
                waiting = asyncio.create_task(drained(stream))
                await asyncio.sleep(0)
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
            assert names_in(tmp_path) == []


async def drained(stream: AsyncIterator[Outcome[str, Path]]) -> None:
    async for outcome in stream:
        assert isinstance(outcome.error, SessionClosedError)


async def test_closing_the_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Transfers are broken off after `close_timeout`: all pending inputs and the stream get `SessionClosedError`."""
    async with Sandbox() as box, server(stall) as (host, heads):
        send_to(box, f"{host}/a.pdf", monkeypatch)
        written = on_part(monkeypatch)
        async with session_on(box, close_timeout=0.05, download_in_flight=2) as ekb:
            reading = asyncio.create_task(drained(ekb.download_invoices((f"c:1:{n}" for n in range(1000)), tmp_path)))
            await written.wait()
        assert names_in(tmp_path) == []
        with pytest.raises(SessionClosedError):
            await reading
        assert len(heads) <= 2


async def test_transfers_under_way_end_when_the_session_is_closed(tmp_path: Path) -> None:
    """A transfer that ends within `close_timeout` is not broken off by closing."""
    async with Sandbox(latency={"file": 0.2}) as box:
        async with session_on(box) as ekb:
            fetching = asyncio.create_task(ekb.downloads(tmp_path).fetch("c:1:1"))
            await box.arrived("file")
        assert (await fetching).is_file()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows itself protects files in use")
async def test_parts_left_by_a_killed_process(ekb: EkbSession, tmp_path: Path) -> None:
    """Partial files without a lock are removed; one in use and other files stay."""
    import fcntl

    left, used, other = (tmp_path / f".ekb-{mark * 16}.part" for mark in "01g")
    for part in (left, used, other):
        part.write_bytes(b"half")
    with used.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        path = await ekb.downloads(tmp_path).fetch("c:1:1")
    assert names_in(tmp_path) == sorted(each.name for each in (used, other, path))


def test_downloads_without_a_network(tmp_path: Path) -> None:
    """Files can be fetched over the in-memory transport, whose expired URLs are refused."""

    async def main() -> Path:
        vendor = Vendor(invoice_url_lifetime=-5)
        transport = InMemoryTransport(vendor)
        credentials = Sandbox().credentials
        async with EkbSession(credentials, transport=transport) as ekb:
            error = (await fetched(ekb, ["c:1:1"], tmp_path))["c:1:1"]
            assert isinstance(error, InvalidRequestError)
            vendor.rules.invoice_url_lifetime = 3600
            return await ekb.downloads(tmp_path).fetch("c:1:1")

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert runner.run(main()).is_file()
