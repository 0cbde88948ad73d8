"""Downloads of invoices' files into a directory, several at a time.

The vendor answers with signed URLs that are valid for an hour. They point to a separate file host, which takes no token
and refuses an expired URL with 403, or with 400 if the credentials that signed it have expired. URLs are requested a
little ahead of their use and in batches, so that a thousand files cost ten requests. If one is refused, a fresh one is
requested, at most twice. All other errors are retried like those of any call.

Whether a file exists is decided by its name alone (`storage.file_names`), so another run fetches only what is missing.
The name includes the vendor's name, which comes with the URL: an existing file still costs its share of a request. A
file appears under its name only when it is complete and flushed to the disk (`storage.atomic_files`).

Closing the session lets running transfers end within `close_timeout`; waiting ones do not begin.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import re
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar
from urllib.parse import unquote
from weakref import WeakValueDictionary

from ekb_async.aio.tasks import in_thread
from ekb_async.client.hooks import Attempt
from ekb_async.config import SessionConfig
from ekb_async.errors import (
    ApiError,
    ConfigError,
    EkbError,
    InvalidRequestError,
    InvoiceNotFoundError,
    PermissionDeniedError,
    ResponseError,
    ServerError,
    SessionClosedError,
    ThrottledError,
)
from ekb_async.files.file_kinds import is_decided_by, what_came_instead
from ekb_async.files.limits import LIMITS as FILE_LIMITS
from ekb_async.models import InvoiceUrl
from ekb_async.protocol import endpoints
from ekb_async.protocol.clock import http_date
from ekb_async.protocol.replies import Reply, retry_after
from ekb_async.protocol.retry import History
from ekb_async.queue.bulk import Outcome, Stream, drained
from ekb_async.queue.limits import LIMITS as QUEUE_LIMITS
from ekb_async.redaction.signed_urls import without_query, without_signature
from ekb_async.session.engine import Engine
from ekb_async.session.invoice_errors import no_such_invoice, with_invoice_id
from ekb_async.storage import atomic_files
from ekb_async.storage.atomic_files import PartFile
from ekb_async.storage.file_names import file_name
from ekb_async.validation import checked_text

if TYPE_CHECKING:
    from ekb_async.client.transport import Transport

P = ParamSpec("P")
T = TypeVar("T")

_MAX_FRESH_URLS = 2
_REFUSED_URL_STATUSES = frozenset({400, 401, 403, 410})
_BUFFER_BYTES = 256 * 1024
_REFUSED_HINT = "Check this machine's clock, proxy and route to the file host."
_FRESH_REFUSED_HINT = "Fresh URLs were refused too: check this machine's clock, proxy and route to the file host."
_HOST_CODE = re.compile(rb"<Code>([0-9A-Za-z]{1,64})</Code>")
_HOST_ERRORS: dict[int, tuple[type[ApiError], str]] = {
    404: (InvoiceNotFoundError, "the invoice's file does not exist"),
    429: (ThrottledError, "the file host limits the rate"),
    500: (ServerError, "the file host is in trouble"),
}
"""Errors by the file host's status, with 500 for all from 500 on; any other status means a refused URL."""


@dataclasses.dataclass(slots=True)
class _Transfer:
    """The transfer of one file, with counts of its attempts and of the fresh URLs fetched for it."""

    link: InvoiceUrl
    path: Path
    renewals: int = 0
    tries: int = 0


class Downloads:
    """Downloads of invoices' files into one directory, `SessionConfig.download_in_flight` at a time."""

    def __init__(self, engine: Engine, transport: Transport, config: SessionConfig, directory: Path) -> None:
        self._engine = engine
        self._transport = transport
        self._timeout = config.request_timeout
        self._directory = directory
        self._permits = asyncio.Semaphore(config.download_in_flight)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._preparing = asyncio.Lock()
        self._prepared = False
        # The error with which every further download would fail.
        self._fatal_error: ConfigError | None = None

    async def prepare(self) -> None:
        """Create the directory and remove the partial files of killed processes from it.

        Raises `ConfigError` if it cannot be used.
        """
        async with self._preparing:
            if not self._prepared:
                await in_thread(atomic_files.prepare, self._directory)
                self._prepared = True

    async def fetch(self, invoice_id: str) -> Path:
        """Return the path of an invoice's file; download it if it does not exist, once for concurrent calls.

        Raises `InvoiceNotFoundError` if the invoice is unknown or has no file, `ConfigError` if the file cannot be
        written (with `.for_all` if no other file can be written either), and the errors common to all calls. Vendor
        path of the URL: `/api/openapi/v2/extension/INVOICE/url`
        """
        checked_text("invoice_id", invoice_id)
        await self.prepare()
        try:
            return await self._fetch_once(invoice_id)
        except EkbError as error:
            raise with_invoice_id(error, invoice_id) from error.__cause__

    async def _fetch_once(self, invoice_id: str) -> Path:
        lock = self._locks.setdefault(invoice_id, asyncio.Lock())
        async with lock:
            link = await self._look_up(invoice_id)
            path = self._directory / file_name(invoice_id, _vendor_name(link))
            if not await in_thread(atomic_files.is_there, path):
                await self._download_when_permitted(invoice_id, _Transfer(link, path))
            return path

    def stream(self, invoice_ids: Iterable[str] | AsyncIterable[str]) -> AsyncGenerator[Outcome[str, Path], None]:
        """Yield the outcome of each input in order of completion; hold a bounded number of inputs."""
        return drained(_Stream(self._engine, self), invoice_ids, self._engine.scope)

    async def _look_up(self, invoice_id: str) -> InvoiceUrl:
        """Return the URL of an invoice's file. Raise `InvoiceNotFoundError` if there is none."""
        link = await self._engine.urls.load(invoice_id)
        if link is None:
            raise no_such_invoice(invoice_id)
        if not link.url:
            raise InvoiceNotFoundError("the invoice has no file", status=200, endpoint=endpoints.INVOICE_URLS.path)
        return link

    async def _download_when_permitted(self, invoice_id: str, transfer: _Transfer) -> None:
        async with self._permits:
            if self._engine.closed:
                raise SessionClosedError("the session is closed")
            # Such as a full disk, or a proxy that refuses the login.
            if self._fatal_error is not None:
                raise self._fatal_error.again()
            try:
                await self._engine.direct(self._download(invoice_id, transfer))
            except ConfigError as error:
                if error.for_all:
                    self._fatal_error = error
                raise

    async def _download(self, invoice_id: str, transfer: _Transfer) -> None:
        for _ in range(_MAX_FRESH_URLS):
            try:
                await self._with_retries(transfer)
            except InvalidRequestError as error:
                if error.status not in _REFUSED_URL_STATUSES:
                    raise
            else:
                return
            transfer.link = await self._look_up(invoice_id)
            transfer.renewals += 1
        await self._with_retries(transfer)

    async def _with_retries(self, transfer: _Transfer) -> None:
        first: Attempt[None] = Attempt(None, History(), url=transfer.link.url or "")
        await self._engine.api.repeat(functools.partial(self._attempt, transfer), first)

    async def _attempt(self, transfer: _Transfer, attempt: Attempt[None]) -> None:
        part = PartFile(transfer.path)
        transfer.tries += 1
        try:
            await self._engine.api.observed(attempt, self._receive(transfer, part, attempt))
        except BaseException as error:
            await in_thread(part.discard)
            if isinstance(error, EkbError):
                error.attempts = transfer.tries
            raise

    async def _receive(self, transfer: _Transfer, part: PartFile, attempt: Attempt[None]) -> None:
        buffer = bytearray()
        # If the file begins with blanks and comments only, it is checked again when there are twice as many bytes.
        check_at = FILE_LIMITS.deciding_characters

        async def write(piece: bytes) -> None:
            nonlocal check_at
            buffer.extend(piece)
            if 0 < check_at <= len(buffer):
                is_decided = len(buffer) >= _BUFFER_BYTES or is_decided_by(buffer)
                check_at = 0 if is_decided else min(2 * len(buffer), _BUFFER_BYTES)
                if is_decided:
                    _check_beginning(buffer, transfer)
            if len(buffer) >= _BUFFER_BYTES:
                await in_thread(part.append, buffer)
                buffer.clear()

        reply = await self._transport.download(attempt.url, timeout=self._timeout, write=write)
        attempt.status = reply.status
        if reply.status != 200:
            raise _refusal(reply, transfer)
        if check_at:
            _check_beginning(buffer, transfer)
        await in_thread(part.complete, buffer)


class _Stream(Stream[str, Path]):
    """A bounded stream of downloads. It accepts many inputs ahead, so that they share requests for their URLs."""

    def __init__(self, engine: Engine, downloads: Downloads) -> None:
        super().__init__()
        self._engine = engine
        self._downloads = downloads
        self._held = 0
        self._room = asyncio.Event()
        self._fetching = asyncio.TaskGroup()

    async def feed(self, inputs: Iterable[str] | AsyncIterable[str]) -> None:
        """Start the downloads of all inputs. Raise what `inputs` raises, after the downloads before it have ended."""
        failure: Exception | None = None
        await self._downloads.prepare()
        async with self._fetching:
            try:
                await super().feed(inputs)
            except Exception as error:  # noqa: BLE001 - the caller's own error, whatever it is
                failure = error
        if failure is not None:
            raise failure

    async def accept(self, invoice_id: str, /) -> None:
        if self._held == QUEUE_LIMITS.stream_inputs:
            self._room.clear()
            await self._room.wait()
        if self._engine.closed:
            raise SessionClosedError("the session is closed")
        self._held += 1
        if self.common_error is not None:
            self.ended.put_nowait(Outcome(invoice_id, error=self.common_error.again()))
        else:
            self._fetching.create_task(self._fetch_one(invoice_id), name="ekb download")

    def release(self, outcome: Outcome[str, Path]) -> None:
        self._held -= 1
        if self._held <= QUEUE_LIMITS.stream_inputs // 2:
            self._room.set()

    def cancel(self) -> None:
        """Do nothing: the downloads end with the task of `feed`."""

    async def _fetch_one(self, invoice_id: str) -> None:
        try:
            if self.common_error is not None:
                raise self.common_error.again()
            outcome: Outcome[str, Path] = Outcome(invoice_id, await self._downloads.fetch(invoice_id))
        except EkbError as error:
            if error.for_all or isinstance(error, PermissionDeniedError):
                self.common_error = error
            outcome = Outcome(invoice_id, error=error)
        self.ended.put_nowait(outcome)


def _vendor_name(link: InvoiceUrl) -> str:
    return link.file_name or unquote(without_query(link.url or "").rpartition("/")[2])


def _refusal(reply: Reply, transfer: _Transfer) -> ApiError:
    """Return the error for the file host's answer, without its text, which may repeat the signature."""
    code = _HOST_CODE.search(reply.body)
    path = without_query(without_signature(transfer.link.url or ""))
    kind, what = _HOST_ERRORS.get(min(reply.status, 500), (InvalidRequestError, "the file host refused the URL"))
    error = kind(what, status=reply.status, code=code and code[1].decode(), endpoint=path)
    error.retry_after = retry_after(reply.headers, http_date(reply.headers.get("Date", "")) or 0.0)
    if isinstance(error, InvalidRequestError):
        error.hint = _FRESH_REFUSED_HINT if transfer.renewals else _REFUSED_HINT
    return error


def _check_beginning(content: bytearray, transfer: _Transfer) -> None:
    """Raise `ResponseError` if the file host sent an error document in place of the file."""
    url = without_query(transfer.link.url or "")
    # The vendor's name determines the kind of file; the URL's is the fallback.
    suffix = Path(transfer.link.file_name or "").suffix or Path(unquote(url)).suffix
    if problem := what_came_instead(content, suffix.lower()):
        raise ResponseError(f"{problem} came in place of the file", endpoint=url)
