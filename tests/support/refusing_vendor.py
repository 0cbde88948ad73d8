"""A vendor that refuses a request as a whole because of its bad IDs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ekb_async.protocol.replies import Reply
from tests.support.canned_vendor import reply

IDS = [f"c:1:{n}" for n in range(1000)]


def ids_in(request: Any) -> list[str]:
    content = json.loads(request.body)
    return content.get("invoiceId") or content["invoiceIds"]  # type: ignore[no-any-return]


def refusing(is_bad: Callable[[str], bool], text: str = "JSON请求参数不正确") -> Callable[[Any], Reply]:
    """Return an answer function that refuses the whole request if one of its IDs is bad."""

    def answer(request: Any) -> Reply:
        ids = ids_in(request)
        bad = [each for each in ids if is_bad(each)]
        if bad:
            return reply(412, {"errorCode": 412, "errorMessage": text.format(bad[0])})
        return reply(200, {"items": [{"id": each, "masterId": each, "url": "https://f.example/a"} for each in ids]})

    return answer
