"""`ekb doctor` on the way to the vendor: each fault is named once, where it belongs, and nothing else is blamed."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from datetime import timedelta
from pathlib import Path

import pytest

from ekb_async.sandbox import Sandbox
from tests.support.doctor import Diagnosis, diagnosed
from tests.support.tls import Authority, answering, listening, proxy_to, tls_in_front

HOST = "ekb.enterprise.example"
LOGIN = "me:the-passw0rd"
ON_THE_NETWORK = ["address", "certificate", "platform", "keys", "clock", "ocr_licence", "interface_licence", "staff"]
REFUSAL = b"HTTP/1.1 %d No\r\nContent-Type: text/html\r\nContent-Length: 13\r\n\r\n<html></html>"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove all proxy and bundle variables."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


def closed_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port: int = listener.getsockname()[1]
        return port


def port_of(box: Sandbox) -> int:
    return int(box.base_url.rpartition(":")[2])


@asynccontextmanager
async def behind_tls(box: Sandbox, authority: Authority) -> AsyncIterator[dict[str, str]]:
    """Yield the variables with which a sandbox is reached by TLS at `https://localhost`."""
    async with tls_in_front(port_of(box), authority.server_context()) as port:
        box.vendor.base_url = f"https://localhost:{port}"
        yield {"EKB_BASE_URL": box.vendor.base_url, "SSL_CERT_FILE": str(authority.bundle)}


def check_only(found: Diagnosis, name: str, status: int, *texts: str) -> None:
    """Assert that one check failed, that those on the network after it were not made, and how the command ended."""
    assert found.faults == [name]
    assert found.status == status, found.text
    for text in texts:
        assert text in found.detail(name)
    names = list(found.checks)
    later = [each for each in ON_THE_NETWORK if names.index(each) > names.index(name)]
    assert set(later) <= set(found.named("skipped"))
    assert {"state_directory", "extras"} <= set(found.named("ok"))
    assert "the-passw0rd" not in found.text


async def test_a_port_that_nothing_listens_on(quick_box: Sandbox) -> None:
    """A refused connection is the address's fault, with its host and port."""
    base_url = f"http://127.0.0.1:{closed_port()}"
    found = await diagnosed(box=quick_box, EKB_BASE_URL=base_url)
    check_only(found, "address", 1, base_url.removeprefix("http://"))
    assert quick_box.log == []


async def test_a_host_that_does_not_exist(quick_box: Sandbox) -> None:
    """An unknown host name is a wrong setting."""
    found = await diagnosed(box=quick_box, EKB_BASE_URL=f"https://{HOST}")
    check_only(found, "address", 2, f"the name {HOST} cannot be resolved", "EKB_BASE_URL")


async def test_a_proxy_that_no_host_can_be(quick_box: Sandbox) -> None:
    """A proxy whose name has an empty part is a wrong setting."""
    found = await diagnosed(box=quick_box, EKB_BASE_URL="https://ekb.example", HTTPS_PROXY="http://u:p@a..b:8080")
    check_only(found, "proxy", 2, "a..b:8080", "HTTPS_PROXY")


async def test_a_host_that_is_silent(quick_box: Sandbox) -> None:
    """A host that accepts the connection and never answers is given up after `--timeout` seconds."""
    async with answering(b"") as port:
        found = await diagnosed("--timeout", "0.2", box=quick_box, EKB_BASE_URL=f"http://127.0.0.1:{port}")
    check_only(found, "address", 1, "gave no complete answer in 0.2 s")


async def test_a_reply_that_does_not_end(quick_box: Sandbox) -> None:
    """So is a reply of which nothing more comes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
        await reader.read()
        writer.close()

    async with listening(serve) as port:
        found = await diagnosed("--timeout", "0.2", box=quick_box, EKB_BASE_URL=f"http://127.0.0.1:{port}")
    check_only(found, "address", 1, "gave no complete answer in 0.2 s")


async def test_a_host_that_speaks_something_else(quick_box: Sandbox) -> None:
    """A port of another protocol is the address's fault."""
    async with answering(b"SSH-2.0-OpenSSH_9.2\r\n\r\n") as port:
        found = await diagnosed(box=quick_box, EKB_BASE_URL=f"http://127.0.0.1:{port}")
    check_only(found, "address", 1, "did not answer in HTTP")


@pytest.mark.parametrize(
    ("head", "body", "status", "text"),
    [
        ("200 OK", "<html><head><title>Welcome</title></head></html>", 2, "a web page came"),
        ("404 Not Found", "<html><h1>Not here</h1></html>", 2, "404 Not here"),
        ("403 Forbidden", "<html><h1>Firewall</h1></html>", 2, "403 Firewall"),
        ("502 Bad Gateway", "<html><h1>No luck</h1></html>", 1, "502 No luck"),
        ("302 Found\r\nLocation: https://elsewhere.example", "", 2, "302"),
        ("404 Not Found", "{}", 2, "404"),
        ("200 OK", '{"hello":"you"}', 2, "the answer holds no access token"),
        ("500 Internal Server Error", '{"errorCode":500,"errorMessage":"系统异常"}', 1, "系统异常"),
    ],
)
async def test_an_address_that_does_not_answer_as_the_vendor(
    quick_box: Sandbox, head: str, body: str, status: int, text: str
) -> None:
    """A web page, a redirect or other JSON is the platform's fault, not that of the keys."""
    answer = f"HTTP/1.1 {head}\r\nContent-Length: {len(body.encode())}\r\n\r\n{body}".encode()
    async with answering(answer) as port:
        found = await diagnosed(box=quick_box, EKB_BASE_URL=f"http://127.0.0.1:{port}")
    assert found.faults == ["platform"]
    assert found.status == status
    assert text in found.detail("platform")
    assert {"keys", "ocr_licence", "interface_licence"} <= set(found.named("skipped"))


@pytest.mark.parametrize("status", ["200 OK", "403 Forbidden", "404 Not Found"])
async def test_a_web_page_for_a_given_token(status: str) -> None:
    """A web page says nothing about a given token, whatever its status."""
    answer = f"HTTP/1.1 {status}\r\nContent-Length: 24\r\n\r\n<html><h1>Hi</h1></html>".encode()
    async with answering(answer) as port:
        variables = {"EKB_BASE_URL": f"http://127.0.0.1:{port}", "EKB_ACCESS_TOKEN": "ID01:the-passw0rd"}
        found = await diagnosed(box=None, **variables)
    assert (found.status, found.faults) == (2, ["platform"])
    assert "a web page came" in found.detail("platform")
    assert "the-passw0rd" not in found.text


async def test_a_trusted_certificate(quick_box: Sandbox, tmp_path: Path) -> None:
    """With the authority's bundle everything on the network is well."""
    async with behind_tls(quick_box, Authority(tmp_path, "localhost")) as variables:
        found = await diagnosed(box=quick_box, **variables)
    assert found.faults == []
    assert found.status == 0
    assert {"proxy", "address", "certificate", "platform", "keys", "clock"} <= set(found.named("ok"))


@pytest.mark.parametrize(("days", "text"), [(-7, "has expired"), (7, "is not valid yet")])
async def test_a_certificate_of_another_time(quick_box: Sandbox, tmp_path: Path, days: int, text: str) -> None:
    """A certificate that has expired, or is not valid yet, is named as such."""
    authority = Authority(tmp_path, "localhost", shift=timedelta(days=days))
    async with behind_tls(quick_box, authority) as variables:
        found = await diagnosed(box=quick_box, **variables)
    check_only(found, "certificate", 1, f"{text} Its host must renew it")


async def test_a_certificate_and_a_wrong_clock(tmp_path: Path) -> None:
    """If only this machine's clock makes a certificate invalid, the clock is named as the cause."""
    authority = Authority(tmp_path, "localhost", shift=timedelta(days=7))
    async with Sandbox(clock_ahead=7 * 86_400) as box, behind_tls(box, authority) as variables:
        found = await diagnosed(box=box, **variables)
        assert box.count("token") == 0
    check_only(found, "certificate", 1, "this machine's clock is 168 h", "behind", "Set this machine's clock")


async def test_a_certificate_of_another_host(quick_box: Sandbox, tmp_path: Path) -> None:
    """A certificate for another name is distinguished from one that is not trusted."""
    async with behind_tls(quick_box, Authority(tmp_path, HOST)) as variables:
        found = await diagnosed(box=quick_box, **variables)
    check_only(found, "certificate", 1, "issued for another host")


async def test_an_unknown_authority(quick_box: Sandbox, tmp_path: Path) -> None:
    """Without the bundle of the enterprise's authority, the advice says where to name it."""
    async with behind_tls(quick_box, Authority(tmp_path, "localhost")) as variables:
        del variables["SSL_CERT_FILE"]
        found = await diagnosed(box=quick_box, **variables)
    check_only(found, "certificate", 1, "unknown authority", "REQUESTS_CA_BUNDLE")


async def test_a_self_signed_certificate(quick_box: Sandbox, tmp_path: Path) -> None:
    """A self-signed certificate is named as such."""
    async with behind_tls(quick_box, Authority(tmp_path, "localhost", is_self_signed=True)) as variables:
        found = await diagnosed(box=quick_box, **variables)
    check_only(found, "certificate", 1, "self-signed")


async def test_a_port_without_tls(quick_box: Sandbox) -> None:
    """https:// to a port that speaks plain HTTP is a failure of TLS, not of the certificate's authority."""
    found = await diagnosed(box=quick_box, EKB_BASE_URL=f"https://127.0.0.1:{port_of(quick_box)}")
    check_only(found, "certificate", 1, "scheme and port")


async def test_a_proxy_that_forwards(quick_box: Sandbox, tmp_path: Path) -> None:
    """A proxy is named with its host and port, without its login."""
    authority = Authority(tmp_path, HOST)
    async with (
        tls_in_front(port_of(quick_box), authority.server_context()) as tls,
        proxy_to(tls, LOGIN) as proxy,
    ):
        quick_box.vendor.base_url = f"https://{HOST}"
        found = await diagnosed(
            box=quick_box,
            EKB_BASE_URL=quick_box.vendor.base_url,
            HTTPS_PROXY=proxy.url,
            SSL_CERT_FILE=str(authority.bundle),
        )
        assert found.faults == [], found.text
        assert proxy.url.rpartition("@")[2] in found.detail("proxy")
    assert "the-passw0rd" not in found.text


async def test_a_proxy_that_needs_another_login(quick_box: Sandbox) -> None:
    """A refused login is a wrong setting."""
    async with proxy_to(port_of(quick_box), "me:another") as proxy:
        url = proxy.url.replace("me:another", LOGIN)
        found = await diagnosed(box=quick_box, EKB_BASE_URL=f"https://{HOST}", HTTPS_PROXY=url)
    check_only(found, "proxy", 2, "status 407", "HTTPS_PROXY")


@pytest.mark.parametrize("status", [403, 502])
@pytest.mark.parametrize("scheme", ["https", "http"])
async def test_a_proxy_that_refuses(quick_box: Sandbox, scheme: str, status: int) -> None:
    """A proxy's refusal to connect is not taken for the vendor's, with a tunnel or without."""
    async with answering(REFUSAL % status) as port:
        variables = {f"{scheme.upper()}_PROXY": f"http://{LOGIN}@127.0.0.1:{port}", "EKB_ALLOW_HTTP": "1"}
        found = await diagnosed(box=quick_box, EKB_BASE_URL=f"{scheme}://{HOST}", **variables)
    check_only(found, "proxy", 1, f"127.0.0.1:{port}", f"status {status}", "NO_PROXY")


async def test_a_login_without_a_tunnel(quick_box: Sandbox) -> None:
    """The 407 of a proxy for plain HTTP is a wrong setting as well."""
    async with answering(REFUSAL % 407) as port:
        variables = {"HTTP_PROXY": f"http://{LOGIN}@127.0.0.1:{port}", "EKB_ALLOW_HTTP": "1"}
        found = await diagnosed(box=quick_box, EKB_BASE_URL=f"http://{HOST}", **variables)
    check_only(found, "proxy", 2, f"127.0.0.1:{port}", "status 407")


async def test_a_proxy_that_is_down(quick_box: Sandbox) -> None:
    """A proxy that refuses the connection is at fault, not the address behind it."""
    port = closed_port()
    proxy = f"http://{LOGIN}@127.0.0.1:{port}"
    found = await diagnosed(box=quick_box, EKB_BASE_URL=f"https://{HOST}", HTTPS_PROXY=proxy)
    check_only(found, "proxy", 1, f"127.0.0.1:{port}")


async def test_a_proxy_that_does_not_exist(quick_box: Sandbox) -> None:
    """An unknown host name of a proxy is a wrong setting."""
    found = await diagnosed(
        box=quick_box, EKB_BASE_URL=f"https://{HOST}", HTTPS_PROXY=f"http://{LOGIN}@proxy.invalid:3128"
    )
    check_only(found, "proxy", 2, "proxy.invalid:3128")


async def test_a_proxy_that_is_silent(quick_box: Sandbox) -> None:
    """A proxy that accepts the connection and never answers is at fault."""
    async with answering(b"") as port:
        proxy = f"http://{LOGIN}@127.0.0.1:{port}"
        found = await diagnosed("--timeout", "0.2", box=quick_box, EKB_BASE_URL=f"https://{HOST}", HTTPS_PROXY=proxy)
    check_only(found, "proxy", 1, f"127.0.0.1:{port}")


async def test_a_proxy_of_another_kind(quick_box: Sandbox) -> None:
    """A proxy that cannot be used at all is a wrong setting, without its login in the text."""
    found = await diagnosed(
        box=quick_box, EKB_BASE_URL=f"https://{HOST}", HTTPS_PROXY=f"socks5://{LOGIN}@127.0.0.1:1080"
    )
    assert found.faults == ["settings"]
    assert found.status == 2
    assert "socks5" in found.detail("settings")
    assert "the-passw0rd" not in found.text


@pytest.mark.parametrize("hours", [1, -1])
async def test_a_clock_that_is_off(hours: int) -> None:
    """A clock that is an hour off is named, and everything else is checked all the same."""
    async with Sandbox(clock_ahead=hours * 3600) as box:
        found = await diagnosed(box=box)
    assert found.faults == ["clock"]
    assert found.status == 1
    assert ("behind the vendor's" if hours > 0 else "ahead of the vendor's") in found.detail("clock")
    assert {"address", "platform", "keys", "ocr_licence", "interface_licence"} <= set(found.named("ok"))
