"""One attempt on the network, against servers that misbehave."""

from __future__ import annotations

import asyncio
import itertools

import aiohttp
import pytest

from ekb_async import (
    ApiError,
    ConfigError,
    EkbConnectionError,
    EkbError,
    EkbSession,
    EkbTimeoutError,
    ResponseError,
    SessionClosedError,
    SessionConfig,
    StaticToken,
)
from ekb_async.client.limits import LIMITS, ClientLimits
from ekb_async.client.transport import AiohttpTransport
from ekb_async.sandbox import Sandbox
from tests.support.raw_server import Handler, server

ONE_TRY = SessionConfig(max_tries=1, close_timeout=0, request_timeout=5)
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


async def failure(handle: Handler, config: SessionConfig = ONE_TRY, limits: ClientLimits = LIMITS) -> EkbError:
    """Return the error of a call to a server that behaves like `handle`."""
    async with server(handle) as (base_url, _):
        transport = AiohttpTransport(base_url, config, None, limits=limits)
        async with EkbSession(StaticToken("ID:t"), config=config, transport=transport) as ekb:
            with pytest.raises(EkbError) as caught:
                await ekb.invoice_url("c:1:1")
            return caught.value


async def test_an_id_stays_one_segment() -> None:
    """An invoice ID is one segment of the path, whatever characters it contains."""
    ids = ["a/b", "../..", "..", ".", "a?b#c", "100%", "%2F", "发票 1", "c::1:2", "a;b=c&d"]

    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        many = b"detailBatch" in head
        writer.write(
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
            if many
            else OK + b"Content-Length: 12\r\n\r\n" + b'{"items":[]}'
        )

    async with server(answer) as (base_url, heads), EkbSession(StaticToken("ID:t"), base_url=base_url) as ekb:
        assert await ekb.invoice_details_many(ids) == {each: [] for each in ids}
    paths = [head.split(b" ")[1].split(b"?")[0] for head in heads if b"detailBatch" not in head]
    assert len(paths) == len(ids)
    prefix = b"/api/openapi/v2/extension/INVOICE/object/invoice/"
    for path in paths:
        assert path.startswith(prefix)
        assert path.count(b"/") == prefix.count(b"/") + 1
        assert path.split(b"/")[-2] not in {b".", b".."}
        assert path.endswith(b"/detail")


async def test_redirects_do_not_carry_the_token_away() -> None:
    """A redirect is not followed; the error explains what to do."""
    followed = asyncio.Event()

    async def elsewhere(_head: bytes, _writer: asyncio.StreamWriter) -> None:
        followed.set()

    async with server(elsewhere) as (other, _):

        async def redirect(_head: bytes, writer: asyncio.StreamWriter) -> None:
            writer.write(f"HTTP/1.1 307 Moved\r\nLocation: {other}/x\r\nContent-Length: 0\r\n\r\n".encode())

        error = await failure(redirect)
    assert isinstance(error, ApiError)
    assert "redirect" in error.hint
    assert not followed.is_set()


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (OK + b"Content-Length: 100\r\n\r\n{", ResponseError),
        (OK + b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"ite', ResponseError),
        (OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", EkbError),
        (OK + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd", EkbError),
        (b"garbage\r\n\r\n", ResponseError),
        (b"HTTP/1.1 200", EkbConnectionError),
        (b"", EkbConnectionError),
        (OK + b"X-Long: " + b"x" * 100_000 + b"\r\n\r\n", ResponseError),
        (OK + b"Content-Length: 4\r\n\r\n\xff\xfe\x00\x01", ResponseError),
    ],
)
async def test_broken_replies(reply: bytes, kind: type[EkbError]) -> None:
    """A malformed reply raises an error of this package."""

    async def answer(_head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(reply)

    assert isinstance(await failure(answer), kind)


async def test_an_endless_reply() -> None:
    """A reply longer than the limit raises `ResponseError`."""

    async def flood(_head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"\r\n")
        for _ in itertools.count():
            writer.write(b" " * 65536)
            await writer.drain()

    error = await failure(flood, limits=ClientLimits(max_reply_bytes=1_000_000))
    assert isinstance(error, ResponseError)
    assert "longer" in str(error)


async def test_silence() -> None:
    """Silence before the answer is limited by `request_timeout`, silence within it by `read_timeout`."""

    async def nothing(_head: bytes, _writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async def half(_head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"Content-Length: 100\r\n\r\n{")
        await writer.drain()
        await asyncio.Event().wait()

    for handle, config in (
        (nothing, SessionConfig(max_tries=1, request_timeout=0.05)),
        (half, SessionConfig(max_tries=1, read_timeout=0.05)),
    ):
        error = await failure(handle, config)
        assert isinstance(error, EkbTimeoutError)
        assert error.sent


@pytest.mark.parametrize(
    "text", ["", "app.ekuaibao.com", "ftp://x", "https://", "https://u:p@h", "https://h/?a=b", 7, None]
)
def test_base_urls(text: object) -> None:
    """An invalid base URL raises `ConfigError` when the session is made."""
    with pytest.raises(ConfigError, match="base_url"):
        EkbSession(StaticToken("ID:t"), base_url=text)  # type: ignore[arg-type]


async def test_an_injected_client_session_is_only_used() -> None:
    """An injected client session is not closed; if its owner has closed it, calls raise `SessionClosedError`."""
    async with Sandbox() as box, aiohttp.ClientSession(headers={"X-Trace": "1"}) as client:
        async with EkbSession(box.credentials, base_url=box.base_url + "/", client_session=client) as ekb:
            assert (await ekb.invoice_url("c:1:1")).id == "c:1:1"
        assert not client.closed
        async with EkbSession(box.credentials, base_url=box.base_url, client_session=client) as ekb:
            await client.close()
            with pytest.raises(SessionClosedError):
                await ekb.invoice_url("c:1:1")


async def test_a_refused_connection() -> None:
    """The error of a refused connection is not `sent` and has a hint."""
    async with EkbSession(StaticToken("ID:t"), base_url="http://127.0.0.1:1", config=ONE_TRY) as ekb:
        with pytest.raises(EkbConnectionError) as caught:
            await ekb.invoice_url("c:1:1")
        assert not caught.value.sent
        assert caught.value.hint


async def test_a_refused_connection_names_its_address_once() -> None:
    """The reason is the system's text, not asyncio's, which repeats the address in Python's form."""
    async with EkbSession(StaticToken("t"), base_url="http://127.0.0.1:9", config=ONE_TRY) as ekb:
        with pytest.raises(EkbConnectionError, match=r"the connection to 127\.0\.0\.1:9 failed: Connection refused"):
            await ekb.invoice_url("corp:1:2")
