"""Error messages name the invoice once, for people and for programs."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest

from ekb_async import ApiError, ConfigError, EkbSession, InvalidRequestError, InvoiceNotFoundError
from ekb_async.backlog import Backlog
from ekb_async.sandbox import Fault, Sandbox
from tests.conftest import session_on
from tests.support import command

UNKNOWN = "corp:0310:unknown"
REFUSED = "corp:0310:bad"


async def test_an_unknown_invoice_is_named(ekb: EkbSession, tmp_path: Path) -> None:
    """`InvoiceNotFoundError` names the ID once in its text and has it as `invoice_id`, for every call."""
    errors: list[Exception | None] = []
    for call in (ekb.invoice_url(UNKNOWN), ekb.verify_by_id(UNKNOWN)):
        with pytest.raises(InvoiceNotFoundError) as raised:
            await call
        errors.append(raised.value)
    errors += [outcome.error async for outcome in ekb.download_invoices([UNKNOWN], tmp_path)]
    found = await ekb.look_up("url", [UNKNOWN])
    for error in (*errors, found[UNKNOWN]):
        assert isinstance(error, InvoiceNotFoundError)
        assert error.invoice_id == UNKNOWN
        assert str(error).count(UNKNOWN) == 1
        assert UNKNOWN not in error.message
        assert str(pickle.loads(pickle.dumps(error))) == str(copy.copy(error)) == str(error)  # noqa: S301 - our own


async def test_a_refused_id_is_named(tmp_path: Path) -> None:
    """An ID that the vendor refuses is named in the error, alone or among others, and the others are found."""
    async with Sandbox(poison={REFUSED}) as box, session_on(box) as ekb:
        for call in (ekb.invoice_url(REFUSED), ekb.invoice_details(REFUSED)):
            with pytest.raises(InvalidRequestError, match=REFUSED) as raised:
                await call
            assert raised.value.invoice_id == REFUSED
        (outcome,) = [each async for each in ekb.download_invoices([REFUSED], tmp_path)]
        assert isinstance(outcome.error, InvalidRequestError)
        assert outcome.error.invoice_id == REFUSED
        found = await ekb.look_up("detail", ["corp:1:1", REFUSED, "corp:1:2"])
        refused = found[REFUSED]
        assert isinstance(refused, InvalidRequestError)
        assert REFUSED in str(refused)
        assert [isinstance(each, list) for each in found.values()] == [True, False, True]


async def test_trouble_of_all_names_none() -> None:
    """Wrong keys and failures of the vendor name no invoice."""
    fault = Fault.answer(500, "系统异常", calls="invoice_url")
    async with Sandbox(faults=[fault]) as box, session_on(box, max_tries=1) as ekb:
        with pytest.raises(ApiError) as raised:
            await ekb.invoice_url("corp:1:1")
        assert raised.value.invoice_id is None
        assert "corp:1:1" not in str(raised.value)


async def test_the_same_trouble_of_many_rows_is_one_cause(tmp_path: Path) -> None:
    """A backlog stores the text without the ID, so that equal causes can be counted."""
    manifest = tmp_path / "m.csv"
    manifest.write_text("kind,invoice_id\n" + "".join(f"url,{UNKNOWN}{n}\n" for n in range(5)), encoding="utf-8")
    async with Sandbox() as box, session_on(box) as ekb, Backlog.open(tmp_path / "b.sqlite") as backlog:
        await backlog.add_manifest(manifest)
        await backlog.run(ekb)
        assert [cause.rows for cause in await backlog.causes()] == [5]


def test_a_code_that_is_the_status_is_said_once() -> None:
    """The vendor's code is shown beside the status only if it differs."""
    assert str(ApiError("系统异常", status=400, code="400", endpoint="/x")).startswith("400 系统异常 (/x). ")
    assert str(ApiError("系统异常", status=400, code="500", endpoint="/x")).startswith("400 [500] 系统异常 (/x). ")


async def test_a_bad_file_is_told_once_and_without_its_folder(ekb: EkbSession, tmp_path: Path) -> None:
    """The error about a local file names the file without its folder, and the reason once."""
    folder = tmp_path / "folder of the service"
    folder.mkdir()
    (folder / "空.png").touch()
    (folder / "nothing.png").mkdir()
    for path in (folder / "空.png", folder / "nothing.png", folder / "missing.png"):
        for call in (ekb.ocr(path), ekb.verify(path, staff_id="c:s"), ekb.upload(path)):
            with pytest.raises(ConfigError) as raised:
                await call
            text = str(raised.value)
            assert "folder of the service" not in text
            assert text.startswith(f"{path.name} cannot be read and sent: ")
            assert text.count(path.name) == text.count("cannot be read") == 1


# The command


@pytest.mark.slow
async def test_single_calls_say_what_failed(tmp_path: Path) -> None:
    """An error is on standard output for programs and on standard error for people, with a repeated hint once."""
    (tmp_path / "空.png").touch()
    (tmp_path / "a.png").write_bytes(command.PNG)
    (tmp_path / "c.png").write_bytes(command.PNG + b"another")
    faults = [Fault.answer(400, "识别失败", calls="ocr")]
    async with Sandbox(ocr_rate=0, faults=faults) as box:
        ended = await command.ekb(
            "ocr", tmp_path / "空.png", tmp_path / "a.png", tmp_path / "c.png", "https://f/b.png?Signature=s", box=box
        )
        assert ended.status == 1
        assert len(ended.lines) == 4
        said = ended.messages.splitlines()
        assert f"{tmp_path / 'a.png'}: 识别失败" in said
        assert "https://f/b.png: 识别失败" in said
        (empty,) = [line for line in said if "空.png" in line]
        assert empty.startswith(f"{tmp_path / '空.png'}: ")
        assert empty.count("空.png") == 1
        assert sorted(line.strip() for line in said if line.startswith("     ")) == [
            "Check that the file URL opens, has not expired, and shows an invoice.",
            "Check that the file opens and shows an invoice.",
        ]
        looked_up = await command.ekb("urls", UNKNOWN, box=box)
        assert f"{UNKNOWN}: no such invoice" in looked_up.messages
        assert looked_up.messages.count(UNKNOWN) == 1


async def test_numbers_of_one(tmp_path: Path) -> None:
    """Messages of the command use the singular for one."""
    manifest, db = tmp_path / "m.csv", tmp_path / "b.sqlite"
    manifest.write_text(f"kind,invoice_id\nurl,{UNKNOWN}\n", encoding="utf-8")
    async with Sandbox() as box:
        await command.ekb("backlog", "add", db, manifest)
        await command.ekb("backlog", "run", db, box=box)
        said = [
            await command.ekb("backlog", "export", db, tmp_path / "o.csv"),
            await command.ekb("backlog", "report", db, "-o", tmp_path / "r.html"),
            await command.ekb("backlog", "copy", db, tmp_path / "c.sqlite"),
            await command.ekb("backlog", "retry", db),
            await command.ekb("backlog", "retry", db),
        ]
    assert said[0].messages == f"1 row in {tmp_path / 'o.csv'}\n"
    assert said[1].messages == f"1 row in {tmp_path / 'r.html'}\n"
    assert "c.sqlite: 1 row added" in said[2].messages
    assert "1 call is new there" in said[2].messages
    assert said[3].messages.endswith("1 row is pending again\n")
    assert said[4].messages.endswith("0 rows are pending again\n")
