"""Turns one observed exchange into a masked line of a bundle."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from ekb_async.client.addresses import is_this_machine
from ekb_async.client.capture.bundle import Exchange, RecordedError, RecordedReply, Upload
from ekb_async.client.capture.limits import CaptureLimits
from ekb_async.protocol.clock import http_date
from ekb_async.protocol.endpoints import Request
from ekb_async.protocol.replies import Reply
from ekb_async.protocol.reply_text import declared_charset
from ekb_async.redaction.personal import harmless
from ekb_async.redaction.personal.recorded import check_free_of, masked_body, without_secrets
from ekb_async.redaction.personal.secrets_on_wire import secrets_in, signatures_in
from ekb_async.redaction.personal.texts import Known, Masks

_CANCELLED = RecordedError("CancelledError")
_CONTENT_TYPE = re.compile(r"""[a-z]{1,20}/[a-z0-9.+-]{1,60}(?:\s?;\s?charset="?[a-z0-9-]{1,20}"?)?""", re.IGNORECASE)
_HTTP_DATE = re.compile(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT", re.ASCII)
_SECONDS = re.compile(r"\d{1,6}(?:\.\d{1,6})?")
_JSON_BEGINS = (b"{", b"[")
_TEXT_BEGINS = (b"<", *_JSON_BEGINS)
_SIGNATURES = (
    b"%PDF-",
    b"\x89PNG",
    b"\xff\xd8\xff",
    b"PK\x03\x04",
    b"GIF8",
    b"II*\0",
    b"MM\0*",
    b"Rar!",
    b"7z\xbc\xaf",
)
"""How files begin of which nothing but the size is recorded."""
_FIRST_ERROR = 400
_SIZE_OF_HEAD = 1_000
"""What an exchange takes in memory besides its bodies, about."""


@dataclass(eq=False, slots=True)
class Observation:
    """One exchange as a transport saw it: a request or the URL of a file, then a reply or an error."""

    began: float
    url: str = ""
    """The URL of a file, "" for a call to the vendor."""
    method: str = "GET"
    path: str = ""
    query: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    upload: Upload | None = None
    token: str | None = None
    sent: bool = False
    reply: Reply | None = None
    error: BaseException | None = None
    ended: float = 0.0
    beginning: bytes = b""
    """The first bytes of a file."""
    file_bytes: int = 0

    @classmethod
    def of(cls, request: Request[object], token: str | None, began: float) -> Observation:
        """Return the observation of a call, without the content of the file that it sends."""
        upload = None if request.upload is None else Upload(request.upload.name, len(request.upload.content))
        query = request.query if token is None else (*request.query, ("accessToken", token))
        method = request.endpoint.method
        return cls(began, method=method, path=request.path, query=query, body=request.body, upload=upload, token=token)

    def note_piece(self, piece: bytes) -> None:
        """Note a piece of a file that has arrived."""
        self.file_bytes += len(piece)
        if len(self.beginning) < 4_096:
            self.beginning += piece[: 4_096 - len(self.beginning)]

    @property
    def size(self) -> int:
        """The bytes that it holds in memory, about."""
        sent = len(self.body or b"") + len(self.url)
        return _SIZE_OF_HEAD + sent + len(self.beginning) + (len(self.reply.body) if self.reply is not None else 0)


class Recorder:
    """Masks the exchanges of one bundle. Used in one thread at a time."""

    def __init__(self, host: str, limits: CaptureLimits) -> None:
        self._masks = Masks(host)
        self._limits = limits
        self._began: float | None = None
        self._number = 0
        self._secrets: dict[str, None] = {}
        """The latest secrets, the oldest first."""
        name = host.rpartition(":")[0] or host
        is_public = is_this_machine(name.strip("[]")) or harmless.VENDOR_HOST.fullmatch(name) is not None
        self.public_host = host if is_public else ""
        """The host, unless it is one that only a single enterprise uses."""

    def line(self, seen: Observation) -> bytes:
        """Return an exchange as a line of JSON. Raises `SecretInTextError` if a secret is left in it."""
        if self._began is None:
            self._began = seen.began
        self._number += 1
        sent = self._secrets_sent(seen)
        self._remember(sent)
        encoded = msgspec.json.encode(self._exchange(seen, Known())) + b"\n"
        # The fields and URLs of a reply are masked by their names, so its own secrets need not be searched before.
        came = () if seen.reply is None else tuple(secrets_in(seen.reply.body[: self._limits.body_bytes]))
        check_free_of(encoded.decode(), (*self._secrets, *sent, *came))
        self._remember(came)
        return encoded

    def _exchange(self, seen: Observation, known: Known) -> Exchange:
        if seen.url:
            masked = urlsplit(self._masks.url(seen.url))
            path, query = masked.path, parse_qsl(masked.query, keep_blank_values=True)
        else:
            path, query = self._path(seen.path, known), self._query(seen.query, known)
        return Exchange(
            number=self._number,
            at=round(seen.began - (self._began or 0.0), 6),
            seconds=round(seen.ended - seen.began, 6),
            method=seen.method,
            path=path,
            query=query,
            body=None if seen.body is None else self._request_body(seen.body, known),
            upload=None if seen.upload is None else self._upload(seen.upload, known),
            reply=None if seen.reply is None else self._reply(seen, seen.reply, known),
            error=None if seen.error is None else self._error(seen.error, known, sent=seen.sent),
        )

    def _path(self, path: str, known: Known) -> str:
        masked = self._masks.path(path)
        for segment, substitute in zip(path.split("/"), masked.split("/"), strict=True):
            known.add(unquote(segment), unquote(substitute))
        return masked

    def _query(self, query: Iterable[tuple[str, str]], known: Known) -> list[tuple[str, str]]:
        masked = []
        for name, value in query:
            masked.append((self._masks.name(name), self._masks.value(name, value, known)))
            known.add(value, masked[-1][1])
        return masked

    def _request_body(self, body: bytes, known: Known) -> str:
        body = body[: self._limits.body_bytes]
        return masked_body(body, None, self._masks, known, self._latest_secrets, collects=True).text

    def _upload(self, upload: Upload, known: Known) -> Upload:
        name = self._masks.hidden(upload.name)
        known.add(upload.name, name)
        return Upload(name, upload.size)

    def _reply(self, seen: Observation, reply: Reply, known: Known) -> RecordedReply:
        body, is_file = reply.body, bool(seen.url) and reply.status == 200
        size = seen.file_bytes if is_file else len(body)
        begins, text, encoding, is_cut = "", None, "utf-8", False
        if is_file and not seen.beginning.lstrip().startswith(_TEXT_BEGINS):
            begins = next((each.hex() for each in _SIGNATURES if seen.beginning.startswith(each)), "")
        else:
            body = seen.beginning if is_file else body
            is_json = body.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(_JSON_BEGINS)
            stored = body[: self._limits.body_bytes if is_json else self._limits.text_bytes]
            is_cut = len(stored) < size
            charset = declared_charset(_header(reply.headers, "content-type"))
            is_error = reply.status >= _FIRST_ERROR
            masked = masked_body(stored, charset, self._masks, known, self._latest_secrets, is_error=is_error)
            text, encoding = masked.text, masked.encoding
        return RecordedReply(
            status=reply.status,
            headers=self._headers(reply.headers),
            body=text,
            encoding=encoding,
            size=size,
            is_cut=is_cut,
            begins=begins,
            problem=None if reply.problem is None else self._error(reply.problem, known),
        )

    def _headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        kept = {}
        for name, text in headers.items():
            spelling = name.lower().replace("-", "")
            match spelling:
                case "date":
                    kept[name] = text if _is_date(text) else ""
                case "contenttype":
                    kept[name] = text if _CONTENT_TYPE.fullmatch(text) else self._masks.sentence(text, Known())
                case "retryafter":
                    is_plain = _SECONDS.fullmatch(text) or _is_date(text)
                    kept[name] = text if is_plain else self._masks.sentence(text, Known())
                case _ if spelling in harmless.REQUEST_ID_NAMES:
                    kept[name] = text if harmless.REQUEST_ID.fullmatch(text) else self._masks.hidden(text)
        return kept

    def _error(self, error: BaseException, known: Known, *, sent: bool | None = None) -> RecordedError:
        if isinstance(error, asyncio.CancelledError):
            return _CANCELLED
        text = self._masks.sentence(without_secrets(str(error), self._latest_secrets), known)
        return RecordedError(
            type(error).__name__, text, getattr(error, "sent", sent), settled=getattr(error, "settled", False)
        )

    def _secrets_sent(self, seen: Observation) -> list[str]:
        """Return the secrets of a request."""
        found = [] if seen.token is None else [seen.token]
        found += signatures_in(seen.url)
        found += secrets_in(seen.body or b"")
        found += (text for name, text in seen.query if harmless.SECRET_NAME.search(name))
        return found

    def _remember(self, secrets: Iterable[str]) -> None:
        for secret in secrets:
            self._secrets.pop(secret, None)
            self._secrets[secret] = None
        while len(self._secrets) > self._limits.recent_secrets:
            del self._secrets[next(iter(self._secrets))]

    @property
    def _latest_secrets(self) -> tuple[str, ...]:
        return tuple(self._secrets)


def _header(headers: Mapping[str, str], name: str) -> str:
    return next((text for each, text in headers.items() if each.lower() == name), "")


def _is_date(text: str) -> bool:
    return http_date(text) is not None and _HTTP_DATE.fullmatch(text) is not None
