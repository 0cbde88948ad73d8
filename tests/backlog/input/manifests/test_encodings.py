"""Manifests in the encodings, with the separators and headings that people use: the same rows, or an error."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ekb_async import ManifestError
from ekb_async.backlog import AddReport, Backlog
from ekb_async.backlog.input.manifest import Manifest, signed_url
from ekb_async.backlog.input.manifests.encodings import scanned_encoding
from ekb_async.backlog.input.manifests.headings import KIND_NAMES, SYNONYMS
from ekb_async.backlog.input.manifests.layout import json_layout
from ekb_async.sandbox import Sandbox
from ekb_async.sandbox.vendor.exchange import VendorReply, VendorRequest
from tests.support.backlogs import all_tasks, session

ENCODINGS = ["utf-8", "gb18030", "utf-16-le", "utf-16-be"]
SEPARATORS = [",", ";", "\t", "，", "；"]
SIGNED = "https://files.example/1-a.png?Expires=1700000000&OSSAccessKeyId=STS.x&Signature=TOPSECRET%3D"
CHINESE = ("业务类型", "文件路径", "员工ID", "备注编号")
ENGLISH = ("kind", "file", "staff_id", "ref")

_TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc"), include_characters='\n\t,;，；"'), max_size=12)
_NAMES = {column: [column, *names] for column, names in SYNONYMS.items()}


def written(rows: Sequence[Sequence[str]], encoding: str, separator: str = ",", *, mark: bool = False) -> bytes:
    text = io.StringIO()
    csv.writer(text, delimiter=separator).writerows(rows)
    return (("\ufeff" if mark else "") + text.getvalue()).encode(encoding)


def read(content: bytes, name: str = "m.csv") -> tuple[list[tuple[str, str, str]], set[str]]:
    """Return kind, reference and staff ID of each row, and the URLs that are read again for the rows."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, name)
        path.write_bytes(content)
        manifest = Manifest(path)
        try:
            rows = list(manifest.rows())
        finally:
            manifest.close()
        urls = {signed_url(path, manifest.columns, row.start, row.length, row.file) for row in rows}
        return [(row.kind, row.ref, row.staff_id) for row in rows], urls


def read_or_reason(content: bytes, name: str = "m.csv") -> tuple[list[tuple[str, str, str]], set[str]] | str:
    try:
        return read(content, name)
    except ManifestError as error:
        return str(error)


@st.composite
def _headings(draw: st.DrawFn) -> list[str]:
    """Return names for the four columns, in any of their spellings."""
    names = [draw(st.sampled_from(_NAMES[column])) for column in ENGLISH]
    cases = [str.upper, str.title, str.lower, lambda name: f" {name} ", lambda name: name.replace("_", " ")]
    return [draw(st.sampled_from(cases))(name) for name in names]


@settings(max_examples=150, deadline=None)
@given(
    headings=_headings(),
    refs=st.lists(_TEXT, max_size=5),
    encoding=st.sampled_from(ENCODINGS),
    separator=st.sampled_from(SEPARATORS),
    mark=st.booleans(),
    kind=st.sampled_from([(kind, name) for kind in ("ocr", "verify") for name in (kind, *KIND_NAMES[kind])]),
)
def test_the_same_rows_or_an_error(
    headings: list[str], refs: list[str], encoding: str, separator: str, mark: bool, kind: tuple[str, str]
) -> None:
    """Each text comes back as it was written and each signed URL is read again, or the error says what to save as.

    With a byte order mark, or in UTF-16, there is no error.
    """
    content = written([headings, *((kind[1], SIGNED, "c:staff", ref) for ref in refs)], encoding, separator, mark=mark)
    found = read_or_reason(content)
    if isinstance(found, str):
        assert not mark
        assert encoding in {"utf-8", "gb18030"}
        assert "save it as UTF-8" in found
    else:
        assert found == ([(kind[0], ref, "c:staff") for ref in refs], {SIGNED} if refs else set())


@settings(max_examples=60, deadline=None)
@given(refs=st.lists(_TEXT, max_size=5), encoding=st.sampled_from(ENCODINGS), mark=st.booleans(), names=_headings())
def test_json_lines_in_each_encoding(refs: list[str], encoding: str, mark: bool, names: list[str]) -> None:
    """JSON Lines are read in the same encodings, with the same names."""
    rows = [dict(zip(names, ("识别", SIGNED, "c:staff", ref), strict=True)) for ref in refs]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    found = read_or_reason((("\ufeff" if mark else "") + text).encode(encoding), "m.jsonl")
    if isinstance(found, str):
        assert not mark
        assert "save it as UTF-8" in found
    else:
        assert found == ([("ocr", ref, "c:staff") for ref in refs], {SIGNED} if refs else set())


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("separator", SEPARATORS)
def test_chinese_headings_make_the_encoding_certain(encoding: str, separator: str) -> None:
    """Under Chinese headings, words that are valid in UTF-8 and in GBK are read right without a byte order mark."""
    rows = [CHINESE, *(("识别", SIGNED, "", ref) for ref in ("茅台", "联通", "é", "堃喆", "上海"))]
    assert read(written(rows, encoding, separator)) == (
        [("ocr", ref, "") for _, _, _, ref in rows[1:]],
        {SIGNED},
    )


@pytest.mark.parametrize(("ref", "encoding"), [("茅台", "gbk"), ("陆", "gbk"), ("é", "utf-8"), ("好康", "utf-8")])
def test_a_file_that_may_be_utf8_or_gbk(ref: str, encoding: str) -> None:
    """Under English headings, bytes that are usual text in both encodings are refused; more text makes it certain."""
    row = ("ocr", SIGNED, "", ref)
    with pytest.raises(ManifestError, match=r'the encoding is not certain, .* Excel calls "CSV UTF-8"'):
        read(written([ENGLISH, row], encoding))
    more = ("ocr", SIGNED, "", "差旅费：增值税电子普通发票")
    assert [found for _, found, _ in read(written([ENGLISH, row, more], encoding))[0]] == [ref, more[3]]


@pytest.mark.parametrize("encoding", ["big5", "shift-jis", "cp1252", "koi8-r"])
def test_another_encoding(encoding: str) -> None:
    """A file in an encoding other than those is refused, and the error says what to save as."""
    text = {"big5": "電子發票證明聯", "shift-jis": "カラオケ領収書", "cp1252": "reçu à payer", "koi8-r": "ёjё"}[
        encoding
    ]
    with pytest.raises(ManifestError, match="this is neither UTF-8 nor clearly GB18030; save it as UTF-8"):
        read(written([ENGLISH, ("ocr", SIGNED, "", text)], encoding))


def test_lines_in_another_encoding_than_the_others() -> None:
    """A line that was appended in another encoding is named."""
    head = [CHINESE, ("识别", SIGNED, "", "差旅费")]
    for first, second in (("utf-8", "gbk"), ("gbk", "utf-8")):
        content = written(head, first) + written([("识别", SIGNED, "", "好康成功")], second)
        with pytest.raises(ManifestError, match="save it as UTF-8") as caught:
            read(content)
        assert [problem.line for problem in caught.value.problems] == [3]


def test_a_damaged_character_far_into_the_file() -> None:
    """The whole file decides: one wrong byte after much correct text is found before anything is read."""
    rows = [ENGLISH, *(("ocr", SIGNED, "", f"差旅费{number}") for number in range(5_000))]
    with pytest.raises(ManifestError, match=r"line 5002: this is neither UTF-8 nor clearly GB18030"):
        read(written(rows, "utf-8") + b"ocr,https://h/a,,\xe5\xb7\n")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_lines_end_where_they_end(encoding: str) -> None:
    """Characters with a byte that looks like a line feed do not end a line, and a cut character is refused."""
    refs = ["上海", "ੁ", "\u0a0a\u0a0d", "一\n上"]
    content = written([ENGLISH, *(("ocr", SIGNED, "", ref) for ref in refs)], encoding, mark=True)
    assert read(content) == ([("ocr", ref, "") for ref in refs], {SIGNED})
    with pytest.raises(ManifestError, match=r"line 7: this line is not UTF-16-.E; save it as UTF-8"):
        read(content + b"\x41")
    with pytest.raises(ManifestError, match="longer than 1 MiB"):
        read(content + "\u0a0a".encode(encoding) * 600_000)


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_a_signed_url_is_sent_from_a_manifest_in_any_encoding(
    tmp_path: Path, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run reads the URL again from the manifest, whatever its encoding and separator, over several lines too."""
    (tmp_path / "m.csv").write_bytes(written([CHINESE, ("识别", SIGNED, "", "出差\n上海；二")], encoding, "；"))
    async with Sandbox(ocr_rate=0) as box, session(box) as ekb, Backlog.open(tmp_path / "b.sqlite") as backlog:
        reply, sent = box.vendor.reply, []

        def answer(request: VendorRequest, at: float) -> VendorReply:
            sent.append(request.body)
            return reply(request, at)

        monkeypatch.setattr(box.vendor, "reply", answer)
        assert await backlog.add_manifest(tmp_path / "m.csv") == AddReport(added=1, duplicates=0)
        assert (await backlog.run(ekb)).counts["done"] == 1
        assert [task.ref for task in await all_tasks(backlog)] == ["出差\n上海；二"]
    assert [SIGNED.encode() in body for body in sent if b"files.example" in body] == [True]


@pytest.mark.parametrize("ref", ["é", "café", "Zürich"])
def test_json_that_may_be_both_is_utf8(tmp_path: Path, ref: str) -> None:
    """JSON is UTF-8 unless it cannot be, and so is a longer CSV file with letters of other alphabets."""
    path = tmp_path / "few.jsonl"
    path.write_text(f'{{"kind": "ocr", "file": "https://x.example/a.png", "ref": "{ref}"}}\n', encoding="utf-8")
    with path.open("rb") as source:
        assert json_layout(source, path).encoding == "utf-8"


def test_a_longer_file_with_other_letters_is_utf8(tmp_path: Path) -> None:
    """Many letters with accents cannot be Chinese in GB18030 by chance."""
    path = tmp_path / "many.csv"
    path.write_text("kind,file,ref\n" + "ocr,https://x.example/a.png,caféàüö\n" * 4, encoding="utf-8")
    with path.open("rb") as source:
        assert scanned_encoding(source, path) == "utf-8"
