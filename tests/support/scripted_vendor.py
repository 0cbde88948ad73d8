"""A transport without a network whose answers a test sets, in virtual time."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any

import msgspec

from ekb_async.errors import EkbConnectionError
from ekb_async.protocol.endpoints import Request
from ekb_async.protocol.replies import Reply

LATENCY = 3.2


SUCCESS = Reply(200, {}, b'{"value":{"platform":"p","invoices":[],"isExpressImage":false}}')


THROTTLED = Reply(429, {}, '{"errorMessage":"请求过于频繁"}'.encode())


BROKEN = Reply(503, {}, b"<html><title>503</title></html>")


FORBIDDEN = Reply(400, {}, "id为：[c]的企业没有发票查验接口权限，请联系管理员开通".encode())


REFUSED = "refused connection"


ANSWERS: dict[str, Reply] = {"success": SUCCESS, "throttled": THROTTLED, "broken": BROKEN, "forbidden": FORBIDDEN}


@dataclasses.dataclass(slots=True)
class Start:
    at: float
    url: str
    answer: str


class ScriptedVendor:
    """A transport that answers each OCR call with `next_answer`, and records every start."""

    def __init__(self) -> None:
        self.starts: list[Start] = []
        self.under_way: dict[str, int] = {}
        self.most_under_way = 0
        self.next_answer = "success"

    async def send(
        self, request: Request[Any], *, token: str | None, timeout: float, on_sent: Callable[[], None]
    ) -> Reply:
        url = msgspec.json.decode(request.body or b"")["fileUrl"]
        answer = self.next_answer
        if answer == REFUSED:
            raise EkbConnectionError("refused", sent=False)
        on_sent()
        self.starts.append(Start(asyncio.get_running_loop().time(), url, answer))
        self.under_way[url] = self.under_way.get(url, 0) + 1
        self.most_under_way = max(self.most_under_way, sum(self.under_way.values()))
        try:
            await asyncio.sleep(LATENCY if answer == "success" else 0.1)
        finally:
            self.under_way[url] -= 1
        return ANSWERS[answer]

    async def download(self, url: str, *, timeout: float, write: object) -> Reply:
        raise NotImplementedError

    async def close(self) -> None:
        pass
