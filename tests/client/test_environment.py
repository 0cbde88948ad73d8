"""Proxies and certificate authorities from the environment, and the refusal of plain HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import aiohttp
import pytest

from ekb_async import (
    ConfigError,
    EkbConnectionError,
    EkbSession,
    SessionConfig,
    StaticToken,
    TenantCredentials,
    TenantSessions,
)
from ekb_async.sandbox import Sandbox
from tests.conftest import FAST
from tests.support import command
from tests.support.tls import Authority, Proxy, proxy_to, tls_in_front

HOST = "ekb.enterprise.example"
BASE_URL = f"https://{HOST}"
URL = "https://files.example.com/a.png"
LOGIN = "me:the-password"
ONCE = SessionConfig(**{**FAST, "max_tries": 1})
VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
AUTHORITIES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


class Network(NamedTuple):
    """A sandbox that can be reached only through a proxy and with TLS of the enterprise's own authority."""

    box: Sandbox
    proxy: Proxy
    bundle: Path


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove all proxy and bundle variables."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in AUTHORITIES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), HOST)


@pytest.fixture
async def network(quick_box: Sandbox, authority: Authority) -> AsyncIterator[Network]:
    port = int(quick_box.base_url.rpartition(":")[2])
    async with tls_in_front(port, authority.server_context()) as tls, proxy_to(tls, LOGIN) as proxy:
        yield Network(quick_box, proxy, authority.bundle)


@pytest.mark.parametrize("proxy", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("bundle", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
async def test_proxies_and_bundles_are_used(
    network: Network, monkeypatch: pytest.MonkeyPatch, proxy: str, bundle: str
) -> None:
    """By default a session uses the environment's proxy, logs in there, and trusts the bundle's authorities."""
    monkeypatch.setenv(proxy, network.proxy.url)
    monkeypatch.setenv(bundle, str(network.bundle))
    async with EkbSession(network.box.credentials, base_url=BASE_URL, config=ONCE) as ekb:
        assert (await ekb.ocr(URL)).invoices
    assert set(network.proxy.requests) == {f"CONNECT {HOST}:443 HTTP/1.1"}


async def test_bundles_add_up(network: Network, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The bundle of one variable does not replace that of another."""
    other = Authority(tmp_path, "other.example").bundle
    monkeypatch.setenv("HTTPS_PROXY", network.proxy.url)
    monkeypatch.setenv("SSL_CERT_FILE", str(other))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(network.bundle))
    async with EkbSession(network.box.credentials, base_url=BASE_URL, config=ONCE) as ekb:
        assert (await ekb.ocr(URL)).invoices


ARGUMENTS = """
import asyncio, os, sys
from ekb_async import AppCredentials, SessionConfig
url, bundle, key, secret = sys.argv[1:]
credentials = AppCredentials(app_key=key, app_security=secret)
"""
AIOHTTP_FIRST = """
import aiohttp
os.environ["SSL_CERT_FILE"] = bundle
from ekb_async import EkbSession
"""
OTHER_BUNDLE_FIRST = """
from ekb_async import EkbSession
os.environ["SSL_CERT_FILE"] = bundle
EkbSession(credentials)
del os.environ["SSL_CERT_FILE"]
"""
SESSION = """
async def main():
    async with EkbSession(credentials, base_url=url, config=SessionConfig(max_tries=1)) as ekb:
        await ekb.ocr("https://files.example.com/a.png")

asyncio.run(main())
"""


@pytest.mark.process
@pytest.mark.parametrize(
    ("beginning", "error"),
    [(AIOHTTP_FIRST, ""), (OTHER_BUNDLE_FIRST, "certificate is not trusted")],
    ids=["aiohttp is imported first", "an earlier session had a bundle"],
)
async def test_bundles_that_change(network: Network, beginning: str, error: str) -> None:
    """A session trusts the bundle that is named when it is made, whatever aiohttp found when it was imported."""
    keys = network.box.credentials
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", f"{ARGUMENTS}{beginning}{SESSION}"),
        *(BASE_URL, str(network.bundle), keys.app_key, keys.app_security),
        env={**os.environ, "HTTPS_PROXY": network.proxy.url},
        stderr=subprocess.PIPE,
    )
    _, messages = await process.communicate()
    assert (process.returncode, error in messages.decode()) == (1 if error else 0, True), messages.decode()


async def test_an_unknown_authority_is_named(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the bundle the certificate is rejected and the error gives that reason."""
    monkeypatch.setenv("HTTPS_PROXY", network.proxy.url)
    async with EkbSession(network.box.credentials, base_url=BASE_URL, config=ONCE) as ekb:
        with pytest.raises(EkbConnectionError, match="certificate is not trusted: ") as caught:
            await ekb.ocr(URL)
    assert not caught.value.sent


async def test_it_can_be_switched_off(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `trust_env=False` neither proxies nor bundles of the environment are used."""
    monkeypatch.setenv("HTTPS_PROXY", network.proxy.url)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere")
    async with EkbSession(network.box.credentials, base_url=BASE_URL, config=ONCE, trust_env=False) as ekb:
        with pytest.raises(EkbConnectionError):
            await ekb.ocr(URL)
    assert network.proxy.requests == []


async def test_an_injected_client_has_its_own_settings(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """An injected client session does not use the environment's proxy."""
    monkeypatch.setenv("HTTPS_PROXY", network.proxy.url)
    async with (
        aiohttp.ClientSession() as client,
        EkbSession(network.box.credentials, base_url=BASE_URL, config=ONCE, client_session=client) as ekb,
    ):
        with pytest.raises(EkbConnectionError):
            await ekb.ocr(URL)
    assert network.proxy.requests == []


@pytest.mark.parametrize("excepted", [HOST, ".example", "*", f"{HOST}:443"])
async def test_excepted_hosts_are_reached_directly(
    network: Network, monkeypatch: pytest.MonkeyPatch, excepted: str
) -> None:
    """`NO_PROXY` may name hosts, hosts with a port, domains, or all hosts."""
    monkeypatch.setenv("HTTPS_PROXY", network.proxy.url)
    monkeypatch.setenv("NO_PROXY", excepted)
    async with EkbSession(network.box.credentials, base_url=BASE_URL, config=ONCE) as ekb:
        with pytest.raises(EkbConnectionError):
            await ekb.ocr(URL)
    assert network.proxy.requests == []


async def test_loopback_uses_only_a_local_proxy(quick_box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests to loopback skip a proxy on another machine, which could not reach it, and use one on this machine."""
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.enterprise.example:3128")
    async with EkbSession(quick_box.credentials, base_url=quick_box.base_url, config=ONCE) as ekb:
        assert (await ekb.ocr(URL)).invoices
    async with proxy_to(int(quick_box.base_url.rpartition(":")[2]), LOGIN) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        async with EkbSession(quick_box.credentials, base_url=quick_box.base_url, config=ONCE) as ekb:
            assert (await ekb.ocr(URL)).invoices
        assert proxy.requests


async def test_files_are_fetched_the_same_way(
    network: Network, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The file of an invoice is downloaded through the proxy for its host, by a session of `TenantSessions` as well."""
    monkeypatch.setenv("HTTPS_PROXY", network.proxy.url)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(network.bundle))
    network.box.vendor.base_url = BASE_URL  # where the URLs of files lead
    sessions = TenantSessions(lambda _: EkbSession(network.box.credentials, base_url=BASE_URL, config=ONCE))
    async with sessions, sessions.session("acme") as ekb:
        [outcome] = [each async for each in ekb.download_invoices(["corp:1:2"], tmp_path)]
    assert outcome.error is None
    assert network.box.count("file", status=200) == 1


async def test_a_proxy_that_refuses(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the proxy rejects the login or the connection, the error names the proxy and shows no password."""
    for url, text in (
        (
            network.proxy.url.replace("the-password", "a-wrong-secret"),
            f"the proxy does not connect to {HOST}:443: status 407",
        ),
        ("http://me:a-wrong-secret@127.0.0.1:9", f"the connection to the proxy for {HOST}:443 failed"),
    ):
        monkeypatch.setenv("HTTPS_PROXY", url)
        async with EkbSession(network.box.credentials, base_url=BASE_URL, config=ONCE) as ekb:
            with pytest.raises(EkbConnectionError, match=text) as caught:
                await ekb.ocr(URL)
        assert not caught.value.sent
        assert "wrong-secret" not in repr(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("HTTPS_PROXY", "socks5://me:the-password@127.0.0.1:1080", "proxy for https is of the kind 'socks5'"),
        ("HTTPS_PROXY", "http://[the-password", "proxy for https is not a URL"),
        ("HTTPS_PROXY", "http://", "proxy for https"),
        ("REQUESTS_CA_BUNDLE", "/nowhere/bundle.pem", "REQUESTS_CA_BUNDLE: /nowhere/bundle.pem: No such file"),
        ("CURL_CA_BUNDLE", __file__, "CURL_CA_BUNDLE: .*: no certificates in it"),
    ],
)
def test_what_cannot_be_used(monkeypatch: pytest.MonkeyPatch, name: str, value: str, text: str) -> None:
    """A setting that cannot be used raises `ConfigError` with its name before anything is sent."""
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=text) as caught:
        EkbSession(StaticToken("the-token-itself"), base_url=BASE_URL)
    assert "the-password" not in str(caught.value)


async def test_the_command_does_the_same(network: Network) -> None:
    """The `ekb` command uses the environment's proxy and bundle without an option."""
    keys = {"EKB_BASE_URL": BASE_URL, "HTTPS_PROXY": network.proxy.url, "SSL_CERT_FILE": str(network.bundle)}
    ended = await command.ekb("ocr", URL, box=network.box, **keys)
    assert ended.status == 0, ended.messages
    assert len(ended.lines) == 1
    assert network.proxy.requests


class TestPlainHttp:
    """A base URL without TLS."""

    @pytest.mark.parametrize(
        "base_url",
        [
            "http://app.ekuaibao.com",
            "HTTP://10.0.0.1:8080",
            "http://[2001:db8::1]",
            "http://localhost.example.com",
            "http://127.0.0.1.nip.io",
        ],
    )
    def test_to_another_host_is_refused(self, base_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Plain http to another machine exposes keys, so it needs `allow_http=True` or `EKB_ALLOW_HTTP=1`."""
        with pytest.raises(ConfigError, match=r"http://.*allow_http=True or EKB_ALLOW_HTTP=1"):
            EkbSession(StaticToken("the-token-itself"), base_url=base_url)
        EkbSession(StaticToken("the-token-itself"), base_url=base_url, allow_http=True)
        monkeypatch.setenv("EKB_ALLOW_HTTP", "0")
        with pytest.raises(ConfigError, match="allow_http"):
            EkbSession(StaticToken("the-token-itself"), base_url=base_url)
        monkeypatch.setenv("EKB_ALLOW_HTTP", "1")
        EkbSession(StaticToken("the-token-itself"), base_url=base_url)

    @pytest.mark.parametrize(
        "host", ["127.0.0.1", "127.8.9.1", "[::1]", "[::ffff:127.0.0.1]", "localhost", "LOCALHOST.", "box.localhost"]
    )
    def test_to_this_machine_is_allowed(self, host: str) -> None:
        """Plain http to this machine needs no permission, since nothing leaves the machine."""
        EkbSession(StaticToken("the-token-itself"), base_url=f"http://{host}:8000")

    def test_of_a_tenant(self, tmp_path: Path) -> None:
        """The same rule applies to the base URLs of tenants."""
        file = tmp_path / "tenants.json"
        file.write_text(json.dumps({"acme": {"access_token": "secret-text", "base_url": "http://ekb.example"}}))
        file.chmod(0o600)
        with pytest.raises(ConfigError, match=r"tenant 'acme': base_url leads to ekb\.example by http://"):
            TenantCredentials.read(file)
        assert TenantCredentials.read(file, allow_http=True)("acme").base_url == "http://ekb.example"

    async def test_of_the_command(self, quick_box: Sandbox) -> None:
        """Without `EKB_ALLOW_HTTP=1` the command ends with status 2 and names the variable."""
        ended = await command.ekb("ocr", URL, box=quick_box, EKB_BASE_URL="http://ekb.invalid")
        assert ended.status == 2
        assert "EKB_ALLOW_HTTP=1" in ended.messages
