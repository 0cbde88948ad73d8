"""A vendor behind TLS and a proxy in front of it, on loopback."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_USAGES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
    *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)


class Authority:
    """An enterprise's certificate authority, and the certificate that it issued to a host.

    The certificate is valid for a day before and after now, moved by `shift`. The host may have signed it itself.
    """

    def __init__(
        self, directory: Path, host: str, *, shift: timedelta = timedelta(), is_self_signed: bool = False
    ) -> None:
        self.bundle = directory / "authority.pem"
        self._host = directory / "host.pem"
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = f"The authority of {host}"
        own = _certificate(issuer, issuer, key, key, is_authority=True)
        self.bundle.write_bytes(own.public_bytes(serialization.Encoding.PEM))
        host_key = ec.generate_private_key(ec.SECP256R1())
        signature = (host, host_key, host_key) if is_self_signed else (issuer, host_key, key)
        certificate = _certificate(host, *signature, is_authority=False, shift=shift)
        pem = serialization.Encoding.PEM
        private = host_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        self._host.write_bytes(private + certificate.public_bytes(pem))

    def server_context(self) -> ssl.SSLContext:
        """Return the TLS context of the host."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._host)
        return context


def _certificate(
    name: str,
    issuer: str,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    *,
    is_authority: bool,
    shift: timedelta = timedelta(),
) -> x509.Certificate:
    now = datetime.now(UTC) + shift
    # Python 3.13 and later require the extensions that RFC 5280 does.
    usage = dict.fromkeys(_USAGES, False) | {"key_cert_sign" if is_authority else "digital_signature": True}
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name.replace(" ", "-"))]), critical=False)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )


class Proxy:
    """A proxy whose tunnels all lead to one port; `requests` has the first line of each request."""

    def __init__(self, port: int, login: str) -> None:
        self._port = port
        self._authorization = f"Basic {base64.b64encode(login.encode()).decode()}"
        self.requests: list[str] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.requests.append(head.partition("\r\n")[0])
        if self._authorization not in head:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            writer.close()
            await writer.wait_closed()
            return
        if head.startswith("CONNECT"):
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            await pipe(reader, writer, self._port)
        else:
            await pipe(reader, writer, self._port, head.encode())


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int, head: bytes = b"") -> None:
    """Connect a caller to a port of this machine until one side closes."""
    there, back = await asyncio.open_connection("127.0.0.1", port)
    back.write(head)
    ways = [asyncio.create_task(_copy(reader, back)), asyncio.create_task(_copy(there, writer))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        back.transport.abort()
        writer.transport.abort()
        await asyncio.gather(*ways, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(1 << 16):
        writer.write(piece)
        await writer.drain()


@asynccontextmanager
async def listening(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    context: ssl.SSLContext | None = None,
) -> AsyncIterator[int]:
    """Listen on a port of loopback; connections that are still open at the end of the block are cancelled."""
    open_ones: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (task := asyncio.current_task()) is not None:
            open_ones.add(task)
        await serve(reader, writer)

    async with await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]
        server.close()
        for task in open_ones:
            task.cancel()
        await asyncio.gather(*open_ones, return_exceptions=True)


@asynccontextmanager
async def tls_in_front(port: int, context: ssl.SSLContext) -> AsyncIterator[int]:
    """Listen with TLS on a port, and forward everything to another port."""

    async def passed_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await pipe(reader, writer, port)

    async with listening(passed_on, context) as own_port:
        yield own_port


@asynccontextmanager
async def answering(
    answer: bytes, context: ssl.SSLContext | None = None, *, after: bytes = b"\r\n\r\n"
) -> AsyncIterator[int]:
    """Listen on a port that answers a request that ends in `after` with `answer`, or never if `answer` is empty."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(after)
            if not answer:
                await reader.read()
            writer.write(answer)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async with listening(serve, context) as own_port:
        yield own_port


@asynccontextmanager
async def proxy_to(port: int, login: str) -> AsyncIterator[Proxy]:
    """Run a proxy that requires a login and leads to one port."""
    proxy = Proxy(port, login)
    async with listening(proxy.serve) as own_port:
        proxy.url = f"http://{login}@127.0.0.1:{own_port}"
        yield proxy
