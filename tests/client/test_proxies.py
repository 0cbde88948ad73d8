"""Failures of a proxy are reported as such: with its name, without its login, and as not sent to the vendor."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import aiohttp
import pytest

from ekb_async import (
    ConfigError,
    EkbConnectionError,
    EkbError,
    EkbSession,
    EkbTimeoutError,
    ProxyError,
    ProxySettingError,
    QueueTimeoutError,
    SessionConfig,
    StaticToken,
)
from ekb_async.backlog import Backlog
from ekb_async.sandbox import Sandbox
from tests.conftest import FAST
from tests.support import command
from tests.support.backlogs import manifest, names_in
from tests.support.tls import Authority, answering

HOST = "ekb.enterprise.example"
BASE_URL = f"https://{HOST}"
URL = "https://files.example.com/a.png"
LOGIN = "me:the-password"
TOKEN = StaticToken("ID01:the-token-itself")
ONCE = SessionConfig(**{**FAST, "max_tries": 1})
TWICE = SessionConfig(**{**FAST, "max_tries": 2})

ANSWERS = {
    "407": b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
    "403": b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno",
    "502": b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "the end": b" ",
}
KINDS = [*ANSWERS, "TLS", "a certificate", "refused", "unknown host"]
SETTINGS = {"407", "unknown host"}


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("proxy"), "proxy.enterprise.example")


@asynccontextmanager
async def bad_proxy(kind: str, authority: Authority) -> AsyncIterator[str]:
    """Yield the URL of a proxy that fails in this way."""
    if kind == "unknown host":
        yield f"http://{LOGIN}@proxy.invalid:3128"
    elif kind == "refused":
        with closing(socket.create_server(("127.0.0.1", 0))) as listener:
            port = listener.getsockname()[1]
        yield f"http://{LOGIN}@127.0.0.1:{port}"
    elif kind == "a certificate":
        async with answering(b"", authority.server_context()) as port:
            yield f"https://{LOGIN}@127.0.0.1:{port}"
    elif kind == "TLS":
        # The proxy answers the first bytes of the TLS handshake in plain HTTP.
        async with answering(b"HTTP/1.1 400 Bad Request\r\n\r\n", after=b"\x16\x03") as port:
            yield f"https://{LOGIN}@127.0.0.1:{port}"
    else:
        async with answering(ANSWERS[kind]) as port:
            yield f"http://{LOGIN}@127.0.0.1:{port}"


def check(error: BaseException | None, proxy: str, kind: str) -> None:
    """Assert that the error is a `ProxyError` of the right class that names the proxy without its login."""
    assert isinstance(error, ProxyError), repr(error)
    assert isinstance(error, EkbConnectionError)
    assert isinstance(error, ProxySettingError) == isinstance(error, ConfigError) == (kind in SETTINGS)
    assert not error.sent
    assert proxy.rpartition("@")[2] in str(error)
    assert "proxy" in error.hint
    for secret in ("the-password", "me:", "the-token"):
        assert secret not in f"{error} {error!r} {error.__cause__!r}"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_paid_call(kind: str, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a paid call nor one for its file or invoice is sent, so nothing counts as billed."""
    async with bad_proxy(kind, authority) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        async with EkbSession(TOKEN, base_url=BASE_URL, config=TWICE) as ekb:
            for call in (ekb.ocr(URL), ekb.upload(b"x", "a.png"), ekb.invoice_url("c:1:1")):
                with pytest.raises(EkbError) as caught:
                    await call
                check(caught.value, proxy, kind)
                assert caught.value.attempts == (1 if kind in {*SETTINGS, "403"} else 2)
            stats = ekb.stats().ocr
    assert (stats.sent, stats.maybe_billed) == (0, 0)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_download(
    kind: str, authority: Authority, quick_box: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Failures of a file host's proxy are reported likewise, although the vendor itself is reached directly."""
    quick_box.vendor.base_url = BASE_URL  # where the URLs of files lead
    async with bad_proxy(kind, authority) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        async with EkbSession(quick_box.credentials, base_url=quick_box.base_url, config=ONCE) as ekb:
            [outcome] = [each async for each in ekb.download_invoices(["corp:1:2"], tmp_path)]
    if kind == "the end":
        assert isinstance(outcome.error, EkbConnectionError)
        assert proxy.rpartition("@")[2] in str(outcome.error)
    else:
        check(outcome.error, proxy, kind)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("kind", ["407", "unknown host", "refused", "502"])
async def test_a_client_with_a_proxy_of_its_own(kind: str, authority: Authority) -> None:
    """Failures of an injected client session's own proxy are reported as the proxy's too."""
    async with bad_proxy(kind, authority) as proxy, aiohttp.ClientSession(proxy=proxy) as client:
        async with EkbSession(TOKEN, base_url=BASE_URL, config=ONCE, client_session=client) as ekb:
            with pytest.raises(ProxyError) as caught:
                await ekb.ocr(URL)
        assert isinstance(caught.value, ConfigError) == (kind in SETTINGS)
        assert "the-password" not in repr(caught.value)


async def test_a_login_over_plain_http(monkeypatch: pytest.MonkeyPatch, authority: Authority) -> None:
    """Without a tunnel the proxy itself answers, and its 407 is not taken for an answer of the vendor."""
    async with bad_proxy("407", authority) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy)
        async with EkbSession(TOKEN, base_url="http://ekb.example", config=TWICE, allow_http=True) as ekb:
            job = ekb.submit_ocr(URL)
            with pytest.raises(ProxySettingError) as caught:
                await job
            assert (job.attempts, job.maybe_billed, job.unconfirmed) == (1, 0, False)
        check(caught.value, proxy, "407")


async def test_a_login_fails_all_that_is_queued(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a proxy rejects the login, all queued calls fail at once instead of trying one by one."""
    async with bad_proxy("407", authority) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        async with EkbSession(TOKEN, base_url=BASE_URL, config=SessionConfig(ocr_rate=1.0)) as ekb:
            async with asyncio.timeout(5):
                outcomes = [each async for each in ekb.ocr_many([URL] * 1000)]
    assert len(outcomes) == 1000
    for outcome in outcomes:
        check(outcome.error, proxy, "407")
        assert outcome.error is not None
        assert outcome.error.for_all  # type: ignore[attr-defined]


async def test_a_run_stops_and_keeps_its_rows(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A failing proxy stops a run with the proxy's error and fails no row of the backlog."""
    for kind in ("407", "unknown host", "refused"):
        async with bad_proxy(kind, authority) as proxy, Backlog.open(tmp_path / f"{kind}.sqlite") as backlog:
            monkeypatch.setenv("HTTPS_PROXY", proxy)
            await backlog.add_manifest(manifest(tmp_path, f"ocr,{URL},,,,", "url,,c:1:1,,,"))
            async with EkbSession(TOKEN, base_url=BASE_URL, config=ONCE) as ekb:
                with pytest.raises(ProxyError) as caught:
                    await backlog.run(ekb)
            check(caught.value, proxy, kind)
            assert (await backlog.counts())["pending"] == 2


@pytest.mark.parametrize("kind", ["refused", "502", "the end"])
@pytest.mark.parametrize("credentials", ["token", "keys"])
async def test_the_cause_of_a_call_that_could_not_leave(
    kind: str, credentials: str, authority: Authority, quick_box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error of a call that was not sent in time has the proxy's error as its cause, also for a token call."""
    keys = TOKEN if credentials == "token" else quick_box.credentials
    async with bad_proxy(kind, authority) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        async with EkbSession(keys, base_url=BASE_URL, config=SessionConfig(max_backoff=30)) as ekb:
            with pytest.raises(QueueTimeoutError) as caught:
                await ekb.ocr(URL, max_wait=0.2)
        check(caught.value.__cause__, proxy, kind)
        assert str(caught.value.__cause__) in str(caught.value)
        assert caught.value.hint == ProxyError.hint


@pytest.mark.parametrize("credentials", ["token", "keys"])
async def test_a_silent_proxy(credentials: str, quick_box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that accepts the connection and never answers is named, when `max_wait` ends and when an attempt does."""
    keys = TOKEN if credentials == "token" else quick_box.credentials
    async with answering(b"") as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{LOGIN}@127.0.0.1:{port}")
        async with EkbSession(keys, base_url=BASE_URL, config=SessionConfig(connect_timeout=30)) as ekb:
            with pytest.raises(QueueTimeoutError, match=f"through the proxy 127.0.0.1:{port}"):
                await ekb.ocr(URL, max_wait=0.1)
        slow = SessionConfig(**{**FAST, "max_tries": 1, "connect_timeout": 0.1})
        async with EkbSession(keys, base_url=BASE_URL, config=slow) as ekb:
            with pytest.raises(EkbTimeoutError, match=f"through the proxy 127.0.0.1:{port}") as caught:
                await ekb.ocr(URL)
            assert not caught.value.sent


async def test_the_command_ends_with_the_status_of_settings(authority: Authority) -> None:
    """The `ekb` command fails, naming the proxy without its login."""
    async with bad_proxy("407", authority) as proxy, Sandbox() as box:
        keys = {"EKB_BASE_URL": BASE_URL, "HTTPS_PROXY": proxy}
        ended = await command.ekb("urls", "c:1:1", box=box, **keys)
    assert ended.status != 0
    assert proxy.rpartition("@")[2] in ended.messages
    assert "the-password" not in ended.messages
