"""The session: everything the vendor's invoice interfaces offer, as awaitable calls.

A call walks from here through a lane (rate-limited) or a batcher (many IDs in one request), or straight, to `Api`,
which sees it through, and on to the transport. Nothing is opened before the first call.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Sequence
from datetime import date as Date  # noqa: N812 - a field of the vendor's is called date
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, overload

import aiohttp

from ekb_async.aio.batch_search import may_be_one_keys_fault, refused_alike
from ekb_async.aio.tasks import await_uncancelled
from ekb_async.client.environment import Environment
from ekb_async.client.transport import AiohttpTransport, Transport, checked_base_url
from ekb_async.config import AppCredentials, Credentials, Priority, SessionConfig, StaticToken, checked_priority
from ekb_async.errors import ApiError, ConfigError, EkbError, InvoiceNotFoundError, SessionClosedError
from ekb_async.files.attachments import checked_attachment, fetch_download_urls, upload
from ekb_async.files.urls import CallFile
from ekb_async.models import (
    Attachment,
    CheckedInvoice,
    FileUrl,
    InvoiceDetail,
    InvoiceRef,
    InvoiceUrl,
    OcrResult,
    VerifyResult,
)
from ekb_async.models.files import FileContent, FileJob, InvoiceFile
from ekb_async.pacing.rule import Pacer, ProcessPace
from ekb_async.protocol import endpoints
from ekb_async.protocol.endpoints import MAX_DOWNLOAD_URLS, MAX_URL_LIFE, Request
from ekb_async.queue.bulk import Inputs, Outcome, outcomes
from ekb_async.queue.jobs import Job
from ekb_async.queue.paced import CallQueue, Order
from ekb_async.queue.stats import SessionStats
from ekb_async.session.downloads import Downloads
from ekb_async.session.engine import Engine
from ekb_async.session.hooks import Observer
from ekb_async.session.metrics import flat_metrics
from ekb_async.tokens.store import ProcessTokens, TokenStore
from ekb_async.validation import (
    checked_flag,
    checked_inputs,
    checked_number,
    checked_path,
    checked_text,
    checked_texts,
    checked_whole,
    vendor_amount,
    vendor_date,
)

T = TypeVar("T")
OcrInput = TypeVar("OcrInput", bound=InvoiceFile | FileJob)
OwnStaff = FileJob | tuple[InvoiceFile, str]
VerifyInput = TypeVar("VerifyInput", bound=InvoiceFile | OwnStaff)
OwnStaffInput = TypeVar("OwnStaffInput", bound=OwnStaff)

DEFAULT_BASE_URL = "https://app.ekuaibao.com"


class EkbSession:
    """A connection to one enterprise at Ekuaibao / Hesi, used as an async context manager.

    `credentials` is `AppCredentials` or `StaticToken`, `base_url` the address of the enterprise's platform; http:// to
    another host than this machine needs `allow_http`. Proxies and certificate authorities of the environment are used
    unless `trust_env` is False. An injected `client_session` (for tracing, or another kind of proxy) is used as it is
    and not closed; a `transport` takes the place of the network altogether (see `ekb_async.simulation`). Pace and
    access token are the session's own, those of all processes on this machine with `pacer=MachinePace()` and
    `token_store=MachineTokens()`, or those of all hosts on a database (see `ekb_async.postgres`). Raises `ConfigError`
    for wrong arguments.
    """

    _engine: Engine | None = None
    _closed = False

    def __init__(
        self,
        credentials: Credentials,
        *,
        base_url: str = DEFAULT_BASE_URL,
        config: SessionConfig | None = None,
        client_session: aiohttp.ClientSession | None = None,
        transport: Transport | None = None,
        pacer: Pacer | None = None,
        token_store: TokenStore | None = None,
        trust_env: bool = True,
        allow_http: bool = False,
    ) -> None:
        if not isinstance(credentials, AppCredentials | StaticToken):
            raise ConfigError(f"credentials must be AppCredentials or StaticToken, not {type(credentials).__name__}")
        if config is not None and not isinstance(config, SessionConfig):
            raise ConfigError(f"config must be a SessionConfig, not {type(config).__name__}")
        if client_session is not None and not isinstance(client_session, aiohttp.ClientSession):
            raise ConfigError(f"client_session must be an aiohttp.ClientSession, not {type(client_session).__name__}")
        check_homes(pacer, token_store)
        self._credentials = credentials
        self._base_url = checked_base_url(base_url, allow_http=checked_flag("allow_http", allow_http))
        self._config = config or SessionConfig()
        self._takes_client = transport is None and client_session is None
        trusts = checked_flag("trust_env", trust_env) and self._takes_client
        self._environment = Environment() if trusts else None
        self._transport = transport or self._network(client_session)
        self._pacer = pacer
        self._token_store = token_store
        self._observer: Observer | None = None
        self._closing: asyncio.Task[None] | None = None

    @classmethod
    def from_env(
        cls,
        *,
        config: SessionConfig | None = None,
        client_session: aiohttp.ClientSession | None = None,
        pacer: Pacer | None = None,
        token_store: TokenStore | None = None,
        trust_env: bool = True,
        allow_http: bool = False,
    ) -> Self:
        """A session from `EKB_BASE_URL` and `EKB_APP_KEY` with `EKB_APP_SECURITY`, or `EKB_ACCESS_TOKEN`.

        The keys win if both are there, since they can renew a token. `EKB_ALLOW_HTTP=1` allows http:// to other hosts,
        as `allow_http` does. Raises `ConfigError` naming what is missing.
        """
        key, security = os.environ.get("EKB_APP_KEY", ""), os.environ.get("EKB_APP_SECURITY", "")
        token = os.environ.get("EKB_ACCESS_TOKEN", "")
        credentials: Credentials
        if key and security:
            credentials = AppCredentials(app_key=key, app_security=security)
        elif token:
            credentials = StaticToken(token)
        else:
            raise ConfigError("set EKB_APP_KEY and EKB_APP_SECURITY, or EKB_ACCESS_TOKEN, in the environment")
        base_url = os.environ.get("EKB_BASE_URL") or DEFAULT_BASE_URL
        return cls(
            credentials,
            base_url=base_url,
            config=config,
            client_session=client_session,
            pacer=pacer,
            token_store=token_store,
            trust_env=trust_env,
            allow_http=allow_http,
        )

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open" if self._engine is not None else "new"
        queues = "".join(f" {queue!r}" for queue in self._engine.queues) if self._engine is not None else ""
        return f"<EkbSession {self._base_url} {state}{queues}>"

    @property
    def base_url(self) -> str:
        """The address of the enterprise's platform."""
        return self._base_url

    @property
    def config(self) -> SessionConfig:
        """The settings it was opened with."""
        return self._config

    @property
    def closed(self) -> bool:
        """Whether `close` has been called."""
        return self._closed

    def share(self, *, client_session: aiohttp.ClientSession, pacer: Pacer, token_store: TokenStore) -> None:
        """Takes what it was not given itself, for who opens many sessions; the client session is not closed.

        Raises `ConfigError` once the session has been used or closed.
        """
        if self._engine is not None or self._closed:
            raise ConfigError("a session that has been used already cannot be given what others share")
        if self._takes_client:
            self._transport = self._network(client_session)
            self._takes_client = False
        self._pacer = self._pacer or pacer
        self._token_store = self._token_store or token_store

    async def __aenter__(self) -> Self:
        self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Running calls finish, up to `close_timeout` seconds; queued jobs fail with `SessionClosedError`.

        May be called any number of times, also at once; each call returns, even if cancelled, when all has ended.
        """
        self._closed = True
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._close(), name="ekb session close")
        await await_uncancelled(self._closing)

    # Recognition and verification

    async def ocr(
        self,
        file: FileContent,
        *,
        file_name: str | None = None,
        priority: Priority = Priority.NORMAL,
        max_wait: float | None = None,
        timeout: float | None = None,
    ) -> OcrResult:
        """Recognises the invoices on a file. Billed, one start a second.

        `file` is a URL, an `Attachment`, a `LocalFile`, a `Path` or the content as `bytes`, of at most 30 MB.
        `file_name` names an upload; `bytes` need it, and stay in memory until they are uploaded, just before their
        turn. `max_wait` is in seconds until the call is sent, `timeout` in seconds for one attempt on the network.
        Raises `ConfigError` for a file that cannot be uploaded, `QueueTimeoutError`, `QueueFullError`, `ProviderError`
        and what any call raises. `/api/openapi/v2/invoice/processImageByFileUrl`
        """
        job = self.submit_ocr(file, file_name=file_name, priority=priority, max_wait=max_wait, timeout=timeout)
        # A URL may be signed, and what reports errors sends the locals of each frame.
        del file
        return await _result(job)

    def submit_ocr(
        self,
        file: FileContent,
        *,
        file_name: str | None = None,
        priority: Priority = Priority.NORMAL,
        max_wait: float | None = None,
        timeout: float | None = None,
    ) -> Job[OcrResult]:
        """Queues what `ocr` does and returns at once; it is under way already if nothing had to be waited for.

        Raises `QueueFullError`, or `QueueTimeoutError` if hopeless.
        """
        order = Order(CallFile(file, file_name), endpoints.ocr, self._timeout(timeout))
        return self._open().ocr.submit(order, checked_priority(priority), _max_wait(max_wait))

    @overload
    def ocr_many(
        self, files: Inputs[OcrInput], *, priority: Priority = ..., timeout: float | None = ...
    ) -> AsyncGenerator[Outcome[OcrInput, OcrResult], None]: ...

    # For a list of several kinds of files: mypy finds no type for it by itself, and takes this form after all.
    @overload
    def ocr_many(  # type: ignore[overload-cannot-match]
        self, files: Inputs[InvoiceFile | FileJob], *, priority: Priority = ..., timeout: float | None = ...
    ) -> AsyncGenerator[Outcome[InvoiceFile | FileJob, OcrResult], None]: ...

    def ocr_many(
        self, files: Inputs[Any], *, priority: Priority = Priority.NORMAL, timeout: float | None = None
    ) -> AsyncGenerator[Outcome[Any, OcrResult], None]:
        """Recognises any number of files; gives outcomes in order of completion, holding a bounded number.

        A `FileJob` has content with a name, or a key of the caller's; each input is given back as `outcome.input`.
        """

        def submit(item: object) -> Job[OcrResult]:
            job = FileJob.of(item)
            return self.submit_ocr(job.file, file_name=job.file_name, priority=priority, timeout=timeout)

        engine = self._open()
        return outcomes(checked_inputs("files", files), submit, engine.ocr.room, engine.scope)

    async def verify(
        self,
        file: FileContent,
        *,
        staff_id: str,
        file_name: str | None = None,
        is_ex_ocr: bool = True,
        priority: Priority = Priority.NORMAL,
        max_wait: float | None = None,
        timeout: float | None = None,
    ) -> VerifyResult:
        """Recognises the invoices on a file and verifies them at the tax authority. Billed, one start a second.

        `staff_id` is the verifying person, as corporation:staff. `file_name` is needed for `bytes`; it defaults to the
        attachment's key, the local file's name or the URL's last segment. `is_ex_ocr` False takes the enterprise's own
        recognition provider. Other arguments as for `ocr`. Raises `RecognitionError`, `StaffNotFoundError`,
        `PermissionDeniedError`, `QueueTimeoutError`, `QueueFullError` and what any call raises.
        `/api/openapi/v2/invoice/multiple_items`
        """
        job = self.submit_verify(
            file,
            staff_id=staff_id,
            file_name=file_name,
            is_ex_ocr=is_ex_ocr,
            priority=priority,
            max_wait=max_wait,
            timeout=timeout,
        )
        # As in `ocr`.
        del file
        return await _result(job)

    def submit_verify(
        self,
        file: FileContent,
        *,
        staff_id: str,
        file_name: str | None = None,
        is_ex_ocr: bool = True,
        priority: Priority = Priority.NORMAL,
        max_wait: float | None = None,
        timeout: float | None = None,
    ) -> Job[VerifyResult]:
        """Queues what `verify` does and returns at once, as `submit_ocr` does.

        Raises `QueueFullError`, `QueueTimeoutError` if hopeless.
        """
        checked_text("staff_id", staff_id)
        call_file = CallFile(file, file_name if isinstance(file, bytes) else None)
        name = call_file.name if file_name is None else checked_text("file_name", file_name)

        def request(url: str) -> Request[VerifyResult]:
            return endpoints.verify(url, file_name=name, staff_id=staff_id, is_ex_ocr=is_ex_ocr)

        order = Order(call_file, request, self._timeout(timeout))
        return self._open().verify.submit(order, checked_priority(priority), _max_wait(max_wait))

    @overload
    def verify_many(
        self,
        files: Inputs[VerifyInput],
        *,
        staff_id: str,
        is_ex_ocr: bool = ...,
        priority: Priority = ...,
        timeout: float | None = ...,
    ) -> AsyncGenerator[Outcome[VerifyInput, VerifyResult], None]: ...

    @overload
    def verify_many(
        self,
        files: Inputs[OwnStaffInput],
        *,
        staff_id: None = ...,
        is_ex_ocr: bool = ...,
        priority: Priority = ...,
        timeout: float | None = ...,
    ) -> AsyncGenerator[Outcome[OwnStaffInput, VerifyResult], None]: ...

    @overload
    def verify_many(  # type: ignore[overload-cannot-match]  # as for `ocr_many`
        self,
        files: Inputs[InvoiceFile | OwnStaff],
        *,
        staff_id: str,
        is_ex_ocr: bool = ...,
        priority: Priority = ...,
        timeout: float | None = ...,
    ) -> AsyncGenerator[Outcome[InvoiceFile | OwnStaff, VerifyResult], None]: ...

    def verify_many(
        self,
        files: Inputs[Any],
        *,
        staff_id: str | None = None,
        is_ex_ocr: bool = True,
        priority: Priority = Priority.NORMAL,
        timeout: float | None = None,
    ) -> AsyncGenerator[Outcome[Any, VerifyResult], None]:
        """Verifies any number of files; gives outcomes in order of completion, holding a bounded number.

        An input is a file, a pair `(file, staff_id)`, or a `FileJob` with a name, staff ID and key of its own; each is
        given back as `outcome.input`. `staff_id` is that of all inputs without their own.
        """
        if staff_id is not None:
            checked_text("staff_id", staff_id)

        def submit(item: object) -> Job[VerifyResult]:
            job = FileJob.of(item)
            if (staff := staff_id if job.staff_id is None else job.staff_id) is None:
                raise ConfigError("staff_id is needed, for all files or with each of them")
            return self.submit_verify(
                job.file,
                staff_id=staff,
                file_name=job.file_name,
                is_ex_ocr=is_ex_ocr,
                priority=priority,
                timeout=timeout,
            )

        engine = self._open()
        return outcomes(checked_inputs("files", files), submit, engine.verify.room, engine.scope)

    async def verify_by_id(self, invoice_id: str) -> CheckedInvoice:
        """Verifies an invoice the vendor already holds. Billed, one start a second.

        Raises `InvoiceNotFoundError`, `InvoiceMismatchError`. `/api/openapi/v2/invoice/validateByInvoiceId`
        """
        request = endpoints.verify_by_id(checked_text("invoice_id", invoice_id))
        try:
            return await self._paced(self._open().verify_by_id, request)
        except EkbError as error:
            raise _named(error, invoice_id) from error.__cause__

    async def verify_by_fields(
        self,
        *,
        code: str,
        number: str,
        date: Date | str,
        amount: Decimal | str | float | None = None,
        check_code: str | None = None,
    ) -> CheckedInvoice:
        """Verifies an invoice by what is printed on it. Billed, one start a second.

        `code` may be "" for fully digital invoices; `date` is a date, or text as 20220110 or 2022-01-10; `amount` in
        yuan; `check_code` is the last six digits. Raises `InvoiceNotFoundError`, `InvoiceMismatchError`, and
        `ConfigError` for a date or amount that is none. `/api/openapi/v2/invoice/validate`
        """
        if not isinstance(code, str) or not (check_code is None or isinstance(check_code, str)):
            raise ConfigError("code and check_code must be texts")
        request = endpoints.verify_by_fields(
            code, checked_text("number", number), vendor_date(date), vendor_amount(amount), check_code
        )
        return await self._paced(self._open().verify_by_fields, request)

    # Invoices by ID

    async def invoice_url(self, invoice_id: str) -> InvoiceUrl:
        """Where to download an invoice's file; the URL lives an hour. Calls made at the same time share requests.

        Raises `InvoiceNotFoundError` for an unknown ID. `/api/openapi/v2/extension/INVOICE/url`
        """
        try:
            found = await self._open().urls.load(checked_text("invoice_id", invoice_id))
        except EkbError as error:
            raise _named(error, invoice_id) from error.__cause__
        if found is None:
            raise no_such_invoice(invoice_id)
        return found

    async def invoice_urls(self, invoice_ids: Iterable[str]) -> dict[str, InvoiceUrl | None]:
        """Where to download the files of many invoices, None for those the vendor does not know or refuses to look up.

        In the order given, duplicates dropped. If every one of them is refused alike it is the call that failed, and
        its error is raised. `/api/openapi/v2/extension/INVOICE/url`
        """
        return _known(await self._open().urls.load_each(checked_texts("invoice_ids", invoice_ids)))

    async def invoice_details(self, invoice_id: str) -> list[InvoiceDetail]:
        """The lines of an invoice; empty if it has none or is unknown. Calls made at the same time share requests.

        `/api/openapi/v2/extension/INVOICE/object/invoice/detailBatch`, or `…/invoice/{invoiceId}/detail` where the
        former does not exist.
        """
        try:
            return await self._open().details.load(checked_text("invoice_id", invoice_id)) or []
        except EkbError as error:
            raise _named(error, invoice_id) from error.__cause__

    async def invoice_details_many(self, invoice_ids: Iterable[str]) -> dict[str, list[InvoiceDetail]]:
        """The lines of many invoices, empty for those without lines, unknown, or refused by the vendor.

        In the order given, duplicates dropped. Raises as `invoice_urls` does; paths as for `invoice_details`.
        """
        found = _known(await self._open().details.load_each(checked_texts("invoice_ids", invoice_ids)))
        return {invoice_id: lines or [] for invoice_id, lines in found.items()}

    async def look_up(
        self, kind: Literal["url", "detail"], invoice_ids: Iterable[str]
    ) -> dict[str, InvoiceUrl | list[InvoiceDetail] | EkbError]:
        """What `invoice_url` or `invoice_details` gives or raises for each of many invoices.

        In the order given, duplicates dropped. Paths as there.
        """
        if kind not in {"url", "detail"}:
            raise ConfigError(f"kind must be url or detail, not {kind!r}")
        # The vendor itself gives IDs that are blank; one of those must not fail the others.
        wanted = checked_texts("invoice_ids", invoice_ids, blank=True)
        asked = [invoice_id for invoice_id in wanted if invoice_id.strip()]
        found: dict[str, InvoiceUrl | list[InvoiceDetail] | EkbError] = {}
        if kind == "url":
            links = await self._open().urls.load_each(asked)
            found = {
                each: no_such_invoice(each) if link is None else _named(link, each) for each, link in links.items()
            }
        else:
            lines = await self._open().details.load_each(asked)
            found = {each: [] if these is None else _named(these, each) for each, these in lines.items()}
        return {each: found[each] if each in found else ConfigError("the invoice ID is blank") for each in wanted}

    async def flow_invoices(
        self, *, codes: Iterable[str] | None = None, ids: Iterable[str] | None = None
    ) -> dict[str, list[InvoiceRef]]:
        """The invoices of documents, by the documents' codes or IDs (give one of the two); unknown ones are left out.

        `/api/openapi/v2/extension/flow/INVOICE/search`
        """
        if (codes is None) == (ids is None):
            raise ConfigError("give either codes or ids")
        by: Literal["code", "id"] = "code" if codes is not None else "id"
        keys = checked_texts(f"{by}s", codes if codes is not None else ids or ())
        found: dict[str, list[InvoiceRef]] = {}
        for part in _parts(keys, self._config.batch_size):
            engine = self._open()
            found.update(await engine.direct(engine.api.call(endpoints.flow_invoices(by, part))))
        return found

    # Files

    async def upload(self, path_or_bytes: Path | str | bytes, name: str | None = None) -> Attachment:
        r"""Uploads a file of at most 30 MB; `name` must not hold `? \ / * < > : " |`.

        It defaults to the file's own, with `_` in place of these.
        Raises `ConfigError` before anything is sent if name, size or file are not as they must be.
        `/api/openapi/v2/attachment/upload`
        """
        source = path_or_bytes if isinstance(path_or_bytes, bytes) else checked_path(path_or_bytes)
        engine = self._open()
        return await engine.direct(upload(engine.api, source, name))

    async def download_urls(
        self, attachments: Iterable[Attachment], expires_in: int = MAX_URL_LIFE
    ) -> dict[Attachment, FileUrl]:
        """Signed URLs of attachments, living `expires_in` seconds (1 to 1800); attachments the vendor misses are left
        out.

        `/api/openapi/v2/attachment/downloadurls`, at most 100 in one request.
        """
        checked_whole("expires_in", expires_in, most=MAX_URL_LIFE)
        if not isinstance(attachments, Iterable):
            raise ConfigError("attachments must be several Attachment objects")
        wanted = list(dict.fromkeys(checked_attachment(each) for each in attachments))
        engine = self._open()
        found: dict[Attachment, FileUrl] = {}
        for part in _parts(wanted, MAX_DOWNLOAD_URLS):
            found.update(await engine.direct(fetch_download_urls(engine.api, part, expires_in)))
        return {each: found[each] for each in wanted if each in found}

    def download_invoices(
        self, invoice_ids: Iterable[str] | AsyncIterable[str], directory: Path | str
    ) -> AsyncGenerator[Outcome[str, Path], None]:
        """Fetches the files of any number of invoices into a directory; gives their paths in order of completion.

        A file is called after the vendor's name and the invoice ID, `hotel-7c9e0b1f6a2d4e85.pdf`; one that is there
        already is not fetched again. The directory is made if need be. An ID given twice has two outcomes with the same
        path. Holds a bounded number of IDs; an error is that of one invoice, such as `InvoiceNotFoundError`. Raises
        `ConfigError` if the directory cannot be used. URLs by `/api/openapi/v2/extension/INVOICE/url`
        """
        return self.downloads(directory).stream(checked_inputs("invoice_ids", invoice_ids))

    def downloads(self, directory: Path | str) -> Downloads:
        """What `download_invoices` is made of, for who fetches file by file: `fetch(invoice_id)` gives the path."""
        if not isinstance(directory, Path | str):
            raise ConfigError(f"directory must be a path, not {type(directory).__name__}")
        return Downloads(self._open(), self._transport, self._config, Path(directory))

    # The session itself

    def stats(self) -> SessionStats:
        """A snapshot of what the session has done so far. Raises `SessionClosedError` if it was closed unused."""
        return (self._engine or self._open()).stats()

    def metrics(self) -> dict[str, int | float]:
        """The numbers of `stats` and those of the pace as they stand, flat: `{"ocr.queued": 3, …}`.

        `….interval_seconds` lie between two starts, `….wait_seconds` before the next slot, and recent calls took
        `….duration_seconds`. Once the session is open, any thread may ask. Raises as `stats` does.
        """
        return flat_metrics(self._engine or self._open())

    def observe(self, observer: Observer) -> None:
        """From its first use on, the session is watched. Raises `ConfigError` once it has been used or closed."""
        if self._engine is not None or self._closed:
            raise ConfigError("a session that has been used already cannot be observed from its beginning")
        self._observer = observer

    def _open(self) -> Engine:
        if self._closed:
            raise SessionClosedError("the session is closed")
        if self._engine is not None and self._engine.loop is not asyncio.get_running_loop():
            raise ConfigError("a session belongs to the event loop it was first used in")
        if self._engine is None:
            if self._observer is not None:
                self._transport = self._observer.transport(self._transport)
            self._engine = Engine(
                self._credentials,
                self._base_url,
                self._transport,
                self._pacer or ProcessPace(),
                self._token_store or ProcessTokens(),
                self._config,
            )
            if self._observer is not None:
                self._observer.opened(self._engine)
        return self._engine

    def _network(self, client_session: aiohttp.ClientSession | None) -> Transport:
        return AiohttpTransport(self._base_url, self._config, client_session, self._environment)

    async def _close(self) -> None:
        try:
            if self._engine is not None:
                await self._engine.close()
        finally:
            await self._transport.close()

    async def _paced(self, queue: CallQueue, request: Request[T]) -> T:
        order: Order[T] = Order(None, lambda _: request, self._config.request_timeout)
        return await _result(queue.submit(order, Priority.NORMAL, None))

    def _timeout(self, timeout: float | None) -> float:
        if timeout is None:
            return self._config.request_timeout
        return checked_number("timeout", timeout, above=0)


def check_homes(pacer: Pacer | None, token_store: TokenStore | None) -> None:
    """Raises `ConfigError` for what keeps no pace, or no tokens."""
    if pacer is not None and not isinstance(pacer, Pacer):
        raise ConfigError(f"pacer must be a MachinePace or the like, not {type(pacer).__name__}")
    if token_store is not None and not isinstance(token_store, TokenStore):
        raise ConfigError(f"token_store must be MachineTokens or the like, not {type(token_store).__name__}")


def _max_wait(seconds: float | None) -> float | None:
    return None if seconds is None or seconds == math.inf else checked_number("max_wait", seconds)


async def _result(job: Job[T]) -> T:
    """A job's result; nobody else holds the job, so it ends with the task that waits for it."""
    try:
        return await job
    finally:
        job.cancel()


def no_such_invoice(invoice_id: str) -> InvoiceNotFoundError:
    """Return the error for an ID that the vendor leaves out of its answer."""
    error = InvoiceNotFoundError("no such invoice", status=200, endpoint=endpoints.INVOICE_URLS.path)
    return error.about(invoice_id)


def _named(answer: T, invoice_id: str) -> T:
    """What was found; a refusal that may be that of the ID names it."""
    if isinstance(answer, ApiError) and may_be_one_keys_fault(answer):
        return answer.about(invoice_id)
    return answer


def _known(found: dict[str, T | EkbError | None]) -> dict[str, T | None]:
    """What was found, None for an ID that the vendor refused on its own; raises what is no single ID's fault."""
    refused = {invoice_id: answer for invoice_id, answer in found.items() if isinstance(answer, EkbError)}
    for error in refused.values():
        if error.of_request or not may_be_one_keys_fault(error):
            raise error
    if refused and len(refused) == len(found) and refused_alike(refused):
        raise next(iter(refused.values()))
    return {invoice_id: None if isinstance(answer, EkbError) else answer for invoice_id, answer in found.items()}


def _parts(items: Sequence[T], size: int) -> list[Sequence[T]]:
    return [items[i : i + size] for i in range(0, len(items), size)]
