"""How a backlog stores the answers that a vendor may send."""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec
import pytest

from ekb_async import EkbSession, SessionConfig
from ekb_async.backlog import Backlog, Task
from ekb_async.backlog.store.values.answers import keep
from ekb_async.models import InvoiceUrl
from ekb_async.sandbox import Sandbox
from ekb_async.sandbox.faults import Fault
from ekb_async.storage.atomic_files import write_whole

SECRET = "SECRETSIG"


async def run_with(directory: Path, call: str, body: bytes, *rows: str) -> list[Task]:
    """Run and export a backlog whose first call of a kind is answered with these bytes, and return its tasks."""
    fault = msgspec.structs.replace(Fault.answer(200), body=body, calls=frozenset({call}), times=1, carried_out=True)
    manifest = directory / "m.csv"
    manifest.write_text("kind,file,invoice_id\n" + "".join(f"{row}\n" for row in rows))
    async with (
        Sandbox(ocr_rate=0, faults=[fault]) as box,
        EkbSession(box.credentials, base_url=box.base_url, config=SessionConfig(ocr_rate=1000, rate_guard=0)) as ekb,
        Backlog.open(directory / "b.sqlite") as backlog,
    ):
        await backlog.add_manifest(manifest)
        await backlog.run(ekb)
        for name in ("out.jsonl", "out.csv"):
            await backlog.export(directory / name)
        return [task async for task in backlog.results()]


def ocr_answer(remark: str, more: str = "") -> bytes:
    details = f'{{"number":"1","total":1.10,"remark":{remark}{more}}}'
    return f'{{"value":{{"invoices":[{{"type":"10100","details":{details}}}]}}}}'.encode()


@pytest.mark.parametrize(
    "remark",
    [
        '"see https://f.example/x?Expires=1&Signature=SECRETSIG&security-token=SECRETSIG now"',
        json.dumps(json.dumps({"u": "https://f.example/x?a=1&Signature=SECRETSIG"})),
        json.dumps('{"u": "https://f.example/x?a=1\\u0026Signature=SECRETSIG"}'),
        '" https://f.example/x?Signature=SECRETSIG"',
        '"https:\\u002f\\u002ff.example\\/x\\u003fSignature\\u003dSECRETSIG"',
        '"//f.example/x?Signature=SECRETSIG"',
        '"/x.png?x=1&OSSAccessKeyId=SECRETSIG"',
        '"https://f.example/x?X-Tos-Signature=SECRETSIG"',
        '"https://f.example/x?authorization=SECRETSIG"',
        '"https://f.example/view?url=https%3A%2F%2Ff.example%3FSignature%3DSECRETSIG"',
        '"half \\ud83d https://f.example/x?Signature=SECRETSIG"',
        '"x","https://f.example/x?Signature=SECRETSIG":1',
    ],
)
async def test_no_signature_reaches_a_file(tmp_path: Path, remark: str) -> None:
    """A signed URL loses its query wherever it is in an answer and however it is written."""
    tasks = await run_with(tmp_path, "ocr", ocr_answer(remark), "ocr,https://files.example/1,")
    assert tasks[0].state == "done"
    for name in ("b.sqlite", "out.jsonl", "out.csv"):
        assert SECRET.encode() not in (tmp_path / name).read_bytes()


async def test_all_else_is_kept_to_the_digit(tmp_path: Path) -> None:
    """Numbers and undocumented fields are stored unchanged beside a URL whose signature is removed."""
    more = ',"amount":12345678901234567.89,"rate":100.10,"page":"https://f.example/?id=7"'
    answer = ocr_answer('"https://f.example/x?Signature=SECRETSIG"', more)
    (task,) = await run_with(tmp_path, "ocr", answer, "ocr,https://files.example/1,")
    assert task.raw == answer.replace(b"?Signature=SECRETSIG", b"")
    assert b"12345678901234567.89" in (tmp_path / "out.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("call", "row", "body"),
    [
        ("ocr", "ocr,https://files.example/{n},", ocr_answer('"x"', ',"deep":' + "[" * 900 + "]" * 900)),
        ("ocr", "ocr,https://files.example/{n},", ocr_answer('"https://f.example/x"', ',"amount":1e400')),
        ("ocr", "ocr,https://files.example/{n},", ocr_answer('"half \\ud83d"')),
        ("invoice_details_many", "detail,,corp::{n}", b'{"items":[null,{"id":"a","masterId":"corp::0"}]}'),
        ("invoice_details_many", "detail,,corp::{n}", b'{"items":[{"id":"a","masterId":"corp::0","x":1e400}]}'),
    ],
)
async def test_an_odd_answer_stays_alone(tmp_path: Path, call: str, row: str, body: bytes) -> None:
    """An answer that is hard to read affects one row at most: every other row gets its result and is exported."""
    tasks = await run_with(tmp_path, call, body, *(row.format(n=number) for number in range(20)))
    assert len(tasks) == 20
    assert {task.state for task in tasks} <= {"done", "failed"}
    assert sum(task.state == "done" for task in tasks) >= 19
    assert len((tmp_path / "out.jsonl").read_bytes().splitlines()) == 20


def test_a_file_that_is_gone_already_is_kept_without_its_size(tmp_path: Path) -> None:
    """A downloaded file that was moved away before it is recorded is stored without its size."""
    assert json.loads(keep(tmp_path / "a.pdf")) == {"path": str(tmp_path / "a.pdf"), "size": None}


@pytest.mark.parametrize(
    "item",
    [
        b'{"id":"a","url":"https://f.example/1.png?Expires=1599556324&Signature=S","thumbUrl":"","region":[0,0,9,20]}',
        b'{"id":"a","source":null,"fileName":"\\u53d1\\u7968\\"\\n.png","region":[],"new":{"deep":[1]}}',
        b'{"id":7,"url":true,"region":[0.5,1e-30,9,20]}',
        b'{"id":"a","region":[0.5,1.0,-3,20]}',
        b'{"id":"a","region":[1e400,1,true,null]}',
        b'{"id":"a","region":[100000000000000000000000,1,2,3]}',
        b'{"id":"a","id":"b","url":"https://f.example/?Expires=99999999999999","thumbUrl":["x"]}',
        b'{"id":"\xff","fileName":"x"}',
        b"{}",
        b"[]",
        b"null",
    ],
)
def test_a_url_is_kept_as_it_is_shown(item: bytes) -> None:
    """The answer to a URL call is stored as its `to_dict` without queries, whatever the types of its values."""
    url = InvoiceUrl.from_raw(item)
    kept = json.loads(keep(url))
    shown = json.loads(json.dumps(url.to_dict()))
    assert kept == shown | {name: shown[name] and shown[name].partition("?")[0] for name in ("url", "thumb_url")}
    assert list(kept) == list(shown)


async def test_lines_of_json_are_utf8_whatever_the_vendor_sent(tmp_path: Path) -> None:
    """A broken character in an answer does not make the export unreadable."""
    body = ocr_answer('"' + "中" * 300 + '"').replace("中".encode(), b"\xe4\xb8", 1)
    damaged = body.replace('中"'.encode(), b'\xe4\xb8"')
    await run_with(tmp_path, "ocr", damaged, "ocr,https://f.example/1,")
    (line,) = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["result"]["invoices"][0]["details"]["total"] == "1.10"


def test_a_report_keeps_who_may_read_it(tmp_path: Path) -> None:
    """An existing file keeps its permissions when it is overwritten, and a new one gets the user's default ones."""
    private = tmp_path / "private.html"
    private.touch(mode=0o600)
    before = os.umask(0o027)
    try:
        write_whole(private, b"page")
        write_whole(tmp_path / "new.html", b"page")
    finally:
        os.umask(before)
    assert private.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "new.html").stat().st_mode & 0o777 == 0o640
    assert private.read_bytes() == b"page"
