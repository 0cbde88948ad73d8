"""Tokens and keys that the vendor quotes are masked in errors and before a reply is stored."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from ekb_async import ApiError, AppCredentials, EkbSession, SessionConfig
from ekb_async.backlog import Backlog
from tests.conftest import FAST
from tests.support.fixed_answer import TOKEN, FixedAnswer

SECRET = "5ecret/of+the app"
KEYS = AppCredentials(app_key="key", app_security=SECRET)
PARTS = ("ID01abcd", "djg8klmn", "5ecret", "the app")

SPELLINGS: dict[str, Callable[[str], str]] = {
    "as it is": lambda text: text,
    "percent-encoded": lambda text: quote(text, safe=""),
    "in lower case": lambda text: "".join(f"%{byte:02x}" if byte in b":/+ " else chr(byte) for byte in text.encode()),
    "encoded twice": lambda text: quote(quote(text, safe=""), safe=""),
    "entities": lambda text: "".join(c if c.isalnum() else f"&#{ord(c)};" for c in text),
    "hexadecimal entities": lambda text: "".join(c if c.isalnum() else f"&#x{ord(c):X};" for c in text),
    "named entities": lambda text: text.replace(":", "&colon;").replace("/", "&sol;").replace("+", "&plus;"),
    "all entities": lambda text: "".join(f"&#{ord(c)};" for c in text),
    "escaped entities": lambda text: html.escape("".join(c if c.isalnum() else f"&#{ord(c)};" for c in text)),
    "all percent-encoded": lambda text: "".join(f"%{ord(c):02x}" for c in text),
    "escaped for JSON": lambda text: "".join(c if c.isalnum() else f"\\u{ord(c):04x}" for c in text),
    "slashes escaped": lambda text: text.replace("/", "\\/"),
    "as a form": lambda text: text.replace("+", "%2B").replace(" ", "+").replace("/", "%2F"),
}


async def refusal_of(body: bytes, status: int = 400) -> ApiError:
    async with EkbSession(KEYS, config=SessionConfig(**FAST), transport=FixedAnswer(status, body)) as ekb:
        with pytest.raises(ApiError) as caught:
            await ekb.ocr("https://files.example/a.png")
    return caught.value


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_every_spelling_is_masked(spelling: str) -> None:
    """A token or a secret in a vendor's text is masked in the error, however it is escaped."""
    words = f"cannot use {SPELLINGS[spelling](TOKEN)} with {SPELLINGS[spelling](SECRET)} here"
    for body in (words, json.dumps({"errorCode": 400, "errorMessage": words}), f"<html><title>{words}</title></html>"):
        error = await refusal_of(body.encode())
        assert not any(part in str(error) for part in PARTS), error
        assert "cannot use ***" in str(error)
        assert error.message.endswith("here")


@pytest.mark.parametrize("code", [TOKEN, f"E:{TOKEN}", "x" * 20 + TOKEN, TOKEN.replace(":", "%3a"), TOKEN * 50])
async def test_a_code_is_masked_before_it_is_cut(code: str) -> None:
    """No part of a token in `errorCode` is in the error, wherever the code is truncated."""
    for status in (200, 400):
        error = await refusal_of(json.dumps({"errorCode": code, "errorMessage": "no"}).encode(), status)
        assert not any(part in f"{error}{error.code}" for part in PARTS), error.code
        assert len(error.code or "") <= 40


@pytest.mark.parametrize(
    "text",
    [
        'bad {"appSecurity": "s3cr,et;x"}',
        'bad {\\"accessToken\\": \\"s3cr,et;x\\"}',
        "bad accessToken%3Ds3cret",
        "bad access_token: s3cret",
        "bad Authorization: Bearer s3cret",
        "bad token&equals;s3cret",
        "bad txSecret=s3cret",
        "bad wsSecret=s3cret&a=1",
        "bad refreshToken：s3cret",
        "bad https:\\/\\/files.example\\/a.png?x=s3cret",
        "bad https&#58;//files.example/a.png?x=s3cret",
        "bad https%253A%252F%252Ffiles.example%252Fa%253Fx%253Ds3cret",
        "bad https://u:p@s3cret@files.example/a",
        "bad //files.example/a?Signature=s3cret",
    ],
)
async def test_what_is_called_a_secret_is_masked(text: str) -> None:
    """The values of fields named like a secret, and the query of any URL, are masked in errors."""
    error = await refusal_of(json.dumps({"errorMessage": text}).encode())
    assert "s3cr" not in str(error)
    assert "bad" in str(error)


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_stored_answers_hold_no_secret(spelling: str, tmp_path: Path) -> None:
    """A token or a secret that a reply quotes is in the result, but not in the backlog's file or its exports."""
    words = f"seen {SPELLINGS[spelling](TOKEN)} and {SPELLINGS[spelling](SECRET)} 发票 1.10"
    remark = json.dumps(words)
    body = f'{{"value":{{"invoices":[{{"details":{{"total":1.10,"remark":{remark}}}}}]}}}}'.encode()
    manifest = tmp_path / "m.csv"
    manifest.write_text("kind,file\nocr,https://files.example/a.png\n")
    async with (
        EkbSession(KEYS, config=SessionConfig(**FAST), transport=FixedAnswer(200, body)) as ekb,
        Backlog.open(tmp_path / "b.sqlite") as backlog,
    ):
        assert (await ekb.ocr("https://files.example/b.png")).invoices[0].details.remark == words
        await backlog.add_manifest(manifest)
        await backlog.run(ekb)
        await backlog.export(tmp_path / "out.jsonl")
        (task,) = [task async for task in backlog.results()]
    details = task.result["invoices"][0]["details"]
    assert details["remark"] == "seen *** and *** 发票 1.10"
    assert details["total"] == "1.10"
    check_files(tmp_path)


def check_files(directory: Path) -> None:
    for file in directory.iterdir():
        content = file.read_bytes().decode("utf-8", "replace")
        assert not any(part in content for part in PARTS), file
