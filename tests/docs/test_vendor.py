"""The texts of errors on the page about the vendor are those by which the package tells errors apart."""

from __future__ import annotations

import re

import msgspec
import pytest

import ekb_async
from ekb_async.protocol.endpoints import VERIFY, Request
from ekb_async.protocol.replies import Reply, read_reply
from tests.support.pages import ENGLISH

_ROW = re.compile(r"^\| [^|]+ \| ([^|]+) \| ([^|]*) \| [^|]+ \| `(\w+Error)` \|$", re.MULTILINE)
ROWS = _ROW.findall((ENGLISH / "vendor.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("statuses", "texts", "name"), ROWS)
def test_an_error(statuses: str, texts: str, name: str) -> None:
    """Each text under each of its statuses raises the error of its row."""
    code = "500" if "errorCode" in statuses else None
    for status in map(int, re.findall(r"\b[45]\d\d\b", statuses.replace("with `errorCode` 500", ""))):
        for text in re.findall(r"`([^`]+)`", texts) or [""]:
            body = msgspec.json.encode({"errorCode": code or status, "errorMessage": text})
            with pytest.raises(getattr(ekb_async, name)) as raised:
                read_reply(Request(VERIFY, VERIFY.path), Reply(status, {}, body))
            assert type(raised.value).__name__ == name
