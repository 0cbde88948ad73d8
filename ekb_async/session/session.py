"""`EkbSession`: every invoice interface of the vendor as an awaitable call.

Rate-limited calls go through a `CallQueue`, look-ups by ID through a `Batcher` (many IDs in one request), all others
straight to `Api`, which makes the attempts over the transport. Nothing is opened before the first call.
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
from ekb_async.client.call_log import CallLog
from ekb_async.client.environment import Environment
from ekb_async.client.hooks import Hooks
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
from ekb_async.pacing.rule import Pacer, ProcessPacer
from ekb_async.protocol import endpoints
from ekb_async.protocol.endpoints import MAX_DOWNLOAD_URLS, MAX_URL_LIFE, Request
from ekb_async.queue.bulk import Inputs, Outcome, outcomes
from ekb_async.queue.jobs import Job, JobEnd, Mark, Order
from ekb_async.queue.paced import CallQueue
from ekb_async.queue.stats import SessionStats
from ekb_async.session.downloads import Downloads
from ekb_async.session.engine import Engine
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
    """A connection to one enterprise at Ekuaibao / Hesi; an async context manager.

    `credentials` is `AppCredentials` or `StaticToken`, `base_url` the address of the enterprise's platform. http:// to
    any host but this machine needs `allow_http`. Proxies and certificate authorities are taken from the environment
    unless `trust_env` is False. An injected `client_session` (for tracing, or another kind of proxy) is used as it is
    and not closed. A `transport` replaces the network (see `ekb_async.simulation`).

    Pace and access token belong to the session by default. `pacer=MachinePace()` and `token_store=MachineTokens()`
    share them among all processes on this machine, those of `ekb_async.postgres` among all hosts on a database.
    Raises `ConfigError` for wrong arguments.

    Errors common to all calls are `AuthError`, `PermissionDeniedError`, `InvalidRequestError`, `ThrottledError`,
    `ServerError`, `EkbConnectionError`, `EkbTimeoutError`, `ResponseError` and `SessionClosedError`; a billed call also
    raises `OutcomeUnknownError` with `repeat_unknown=False`.
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
        check_pacer_and_store(pacer, token_store)
        self._credentials = credentials
        self._base_url = checked_base_url(base_url, allow_http=checked_flag("allow_http", allow_http))
        self._config = config or SessionConfig()
        self._has_default_transport = transport is None and client_session is None
        trusts_environment = checked_flag("trust_env", trust_env) and self._has_default_transport
        self._environment = Environment() if trusts_environment else None
        self._transport = transport or self._network(client_session)
        self._pacer = pacer
        self._token_store = token_store
        self._hooks: list[Hooks] = [CallLog()]
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
        """Make a session from `EKB_BASE_URL` and `EKB_APP_KEY` with `EKB_APP_SECURITY`, or `EKB_ACCESS_TOKEN`.

        If both keys and token are set, the keys are used, since they can renew a token. `EKB_ALLOW_HTTP=1` allows
        http:// to other hosts, as `allow_http` does. Raises `ConfigError` naming the variables that are missing.
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
        """The settings of the session."""
        return self._config

    @property
    def used(self) -> bool:
        """Whether the session has been opened by a first call, so that there are numbers in `metrics`."""
        return self._engine is not None

    @property
    def closed(self) -> bool:
        """Whether `close` has been called."""
        return self._closed

    def share(self, *, client_session: aiohttp.ClientSession, pacer: Pacer, token_store: TokenStore) -> None:
        """Use these shared resources in place of those that were not passed to the constructor.

        For a pool of sessions. The session does not close `client_session`.
        Raises `ConfigError` if the session has been used or closed.
        """
        if self._engine is not None or self._closed:
            raise ConfigError("a session that has been used already cannot take shared resources")
        if self._has_default_transport:
            self._transport = self._network(client_session)
            self._has_default_transport = False
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
        """Close the session: wait up to `close_timeout` seconds for running calls, then cancel them.

        Queued jobs fail with `SessionClosedError`. May be called repeatedly and concurrently; each call, even a
        cancelled one, returns only after everything has ended.
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
        """Recognise the invoices on a file. Billed; one start a second by default.

        `file` is a URL, an `Attachment`, a `LocalFile`, a `Path` or the content as `bytes`, of at most 30 MB.
        `file_name` names an upload and is required for `bytes`, which stay in memory until they are uploaded just
        before the call. `max_wait` limits the seconds until the call is sent, `timeout` the seconds of one attempt on
        the network (default `SessionConfig.request_timeout`).

        Raises `ConfigError` for a file that cannot be uploaded, `QueueTimeoutError`, `QueueFullError`, `ProviderError`
        and the errors common to all calls. Vendor path: `/api/openapi/v2/invoice/processImageByFileUrl`
        """
        job = self.submit_ocr(file, file_name=file_name, priority=priority, max_wait=max_wait, timeout=timeout)
        # The URL may be signed, and error reporters send the locals of each frame.
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
        mark: Mark | None = None,
        on_end: JobEnd | None = None,
    ) -> Job[OcrResult]:
        """Queue a call of `ocr` and return its job at once; if nothing has to be waited for, the call starts at once.

        Arguments as for `ocr`. `mark` is awaited before each attempt is sent, with the number of attempts that may be
        billed without an answer then, this one included; if it raises an `EkbError`, nothing is sent and the job fails
        with it. `on_end` is called with the job when it has ended.

        Raises `ConfigError` for wrong arguments, `QueueFullError`, and `QueueTimeoutError` if the queue is too long for
        `max_wait`. The job raises the other errors of `ocr`.
        """
        order = Order(CallFile(file, file_name), endpoints.ocr, self._timeout(timeout))
        return self._open().ocr.submit(order, checked_priority(priority), _max_wait(max_wait), mark, on_end)

    @overload
    def ocr_many(
        self, files: Inputs[OcrInput], *, priority: Priority = ..., timeout: float | None = ...
    ) -> AsyncGenerator[Outcome[OcrInput, OcrResult], None]: ...

    # For a list of several kinds of files, whose type mypy cannot infer; it falls back to this overload.
    @overload
    def ocr_many(  # type: ignore[overload-cannot-match]
        self, files: Inputs[InvoiceFile | FileJob], *, priority: Priority = ..., timeout: float | None = ...
    ) -> AsyncGenerator[Outcome[InvoiceFile | FileJob, OcrResult], None]: ...

    def ocr_many(
        self, files: Inputs[Any], *, priority: Priority = Priority.NORMAL, timeout: float | None = None
    ) -> AsyncGenerator[Outcome[Any, OcrResult], None]:
        """Recognise any number of files; yield outcomes in order of completion. Billed and paced as `ocr`.

        An input is a file as for `ocr`, or a `FileJob` with content and a name, or a key of the caller's; each is
        returned as `outcome.input`. A bounded number of files is held at a time. Raises what iterating over `files`
        raises, after the outcomes of all files before; an error of one file is `outcome.error`.
        """

        def submit(item: object, on_end: JobEnd) -> Job[OcrResult]:
            job = FileJob.of(item)
            return self.submit_ocr(job.file, file_name=job.file_name, priority=priority, timeout=timeout, on_end=on_end)

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
        """Recognise the invoices on a file and verify them at the tax authority. Billed; one start a second by default.

        `staff_id` is the person who verifies, as corporation:staff. `file_name` is required for `bytes`; it defaults to
        the attachment's key, the local file's name or the URL's last segment. `is_ex_ocr=False` uses the enterprise's
        own recognition provider. Other arguments as for `ocr`.

        Raises `RecognitionError`, `StaffNotFoundError`, `PermissionDeniedError`, `QueueTimeoutError`, `QueueFullError`
        and the errors common to all calls. Vendor path: `/api/openapi/v2/invoice/multiple_items`
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
        mark: Mark | None = None,
        on_end: JobEnd | None = None,
    ) -> Job[VerifyResult]:
        """Queue a call of `verify` and return its job at once, as `submit_ocr` does.

        Arguments as for `verify`, `mark` and `on_end` as for `submit_ocr`. Raises `ConfigError` for wrong ones,
        `QueueFullError`, and `QueueTimeoutError` if the queue is too long for `max_wait`. The job raises the other
        errors of `verify`.
        """
        checked_text("staff_id", staff_id)
        call_file = CallFile(file, file_name if isinstance(file, bytes) else None)
        name = call_file.name if file_name is None else checked_text("file_name", file_name)

        def request(url: str) -> Request[VerifyResult]:
            return endpoints.verify(url, file_name=name, staff_id=staff_id, is_ex_ocr=is_ex_ocr)

        order = Order(call_file, request, self._timeout(timeout))
        return self._open().verify.submit(order, checked_priority(priority), _max_wait(max_wait), mark, on_end)

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
        """Verify any number of files; yield outcomes in order of completion. Billed and paced as `verify`.

        An input is a file, a pair `(file, staff_id)`, or a `FileJob` with its own name, staff ID and key; each is
        returned as `outcome.input`. `staff_id` applies to inputs without their own. A bounded number of files is held
        at a time. Raises what iterating over `files` raises, after the outcomes of all files before; an error of one
        file is `outcome.error`.
        """
        if staff_id is not None:
            checked_text("staff_id", staff_id)

        def submit(item: object, on_end: JobEnd) -> Job[VerifyResult]:
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
                on_end=on_end,
            )

        engine = self._open()
        return outcomes(checked_inputs("files", files), submit, engine.verify.room, engine.scope)

    async def verify_by_id(self, invoice_id: str) -> CheckedInvoice:
        """Verify an invoice that the vendor already holds. Billed; one start a second by default.

        Raises `InvoiceNotFoundError`, `InvoiceMismatchError`, `QueueFullError` and the errors common to all calls.
        Vendor path: `/api/openapi/v2/invoice/validateByInvoiceId`
        """
        request = endpoints.verify_by_id(checked_text("invoice_id", invoice_id))
        try:
            return await self._paced(self._open().verify_by_id, request)
        except EkbError as error:
            raise _with_invoice_id(error, invoice_id) from error.__cause__

    async def verify_by_fields(
        self,
        *,
        code: str,
        number: str,
        date: Date | str,
        amount: Decimal | str | float | None = None,
        check_code: str | None = None,
    ) -> CheckedInvoice:
        """Verify an invoice by what is printed on it. Billed; one start a second by default.

        `code` may be "" for fully digital invoices. `date` is a date, or text as 20220110 or 2022-01-10. `amount` is in
        yuan. `check_code` is the last six digits.

        Raises `ConfigError` for an invalid date or amount, `InvoiceNotFoundError`, `InvoiceMismatchError`,
        `QueueFullError` and the errors common to all calls. Vendor path: `/api/openapi/v2/invoice/validate`
        """
        if not isinstance(code, str) or not (check_code is None or isinstance(check_code, str)):
            raise ConfigError("code and check_code must be texts")
        request = endpoints.verify_by_fields(
            code, checked_text("number", number), vendor_date(date), vendor_amount(amount), check_code
        )
        return await self._paced(self._open().verify_by_fields, request)

    # Invoices by ID

    async def invoice_url(self, invoice_id: str) -> InvoiceUrl:
        """Return the download URL of an invoice's file, valid for an hour. Concurrent calls share requests.

        Raises `InvoiceNotFoundError` for an unknown ID, and the errors common to all calls.
        Vendor path: `/api/openapi/v2/extension/INVOICE/url`
        """
        try:
            found = await self._open().urls.load(checked_text("invoice_id", invoice_id))
        except EkbError as error:
            raise _with_invoice_id(error, invoice_id) from error.__cause__
        if found is None:
            raise no_such_invoice(invoice_id)
        return found

    async def invoice_urls(self, invoice_ids: Iterable[str]) -> dict[str, InvoiceUrl | None]:
        """Return the download URLs of many invoices' files; None for an ID that is unknown or that the vendor refuses.

        The IDs keep their order; duplicates are dropped. If all IDs are refused alike, the call itself has failed and
        its error is raised. Vendor path: `/api/openapi/v2/extension/INVOICE/url`
        """
        return _without_refusals(await self._open().urls.load_each(checked_texts("invoice_ids", invoice_ids)))

    async def invoice_details(self, invoice_id: str) -> list[InvoiceDetail]:
        """Return the lines of an invoice; empty if it has none or is unknown. Concurrent calls share requests.

        Raises the errors common to all calls. Vendor path:
        `/api/openapi/v2/extension/INVOICE/object/invoice/detailBatch`, or `…/invoice/{invoiceId}/detail` without it.
        """
        try:
            return await self._open().details.load(checked_text("invoice_id", invoice_id)) or []
        except EkbError as error:
            raise _with_invoice_id(error, invoice_id) from error.__cause__

    async def invoice_details_many(self, invoice_ids: Iterable[str]) -> dict[str, list[InvoiceDetail]]:
        """Return the lines of many invoices; empty for an ID that has no lines, is unknown or that the vendor refuses.

        The IDs keep their order; duplicates are dropped. Raises as `invoice_urls` does.
        Vendor paths as for `invoice_details`.
        """
        found = _without_refusals(await self._open().details.load_each(checked_texts("invoice_ids", invoice_ids)))
        return {invoice_id: lines or [] for invoice_id, lines in found.items()}

    async def look_up(
        self, kind: Literal["url", "detail"], invoice_ids: Iterable[str]
    ) -> dict[str, InvoiceUrl | list[InvoiceDetail] | EkbError]:
        """Return for each of many invoices the result or the error of `invoice_url` or `invoice_details`.

        The IDs keep their order; duplicates are dropped. Raises `ConfigError` for another `kind`.
        Vendor paths as for these calls.
        """
        if kind not in {"url", "detail"}:
            raise ConfigError(f"kind must be url or detail, not {kind!r}")
        # The vendor itself issues blank IDs; one of them must not fail the others.
        wanted = checked_texts("invoice_ids", invoice_ids, blank=True)
        lookable = [invoice_id for invoice_id in wanted if invoice_id.strip()]
        found: dict[str, InvoiceUrl | list[InvoiceDetail] | EkbError] = {}
        if kind == "url":
            links = await self._open().urls.load_each(lookable)
            found = {
                each: no_such_invoice(each) if link is None else _with_invoice_id(link, each)
                for each, link in links.items()
            }
        else:
            details = await self._open().details.load_each(lookable)
            found = {each: [] if lines is None else _with_invoice_id(lines, each) for each, lines in details.items()}
        return {each: found[each] if each in found else ConfigError("the invoice ID is blank") for each in wanted}

    async def flow_invoices(
        self, *, codes: Iterable[str] | None = None, ids: Iterable[str] | None = None
    ) -> dict[str, list[InvoiceRef]]:
        """Return the invoices of documents, by the documents' codes or IDs; unknown documents are left out.

        Raises `ConfigError` unless exactly one of `codes` and `ids` is given, and the errors common to all calls.
        Vendor path: `/api/openapi/v2/extension/flow/INVOICE/search`
        """
        if (codes is None) == (ids is None):
            raise ConfigError("give either codes or ids")
        by: Literal["code", "id"] = "code" if codes is not None else "id"
        keys = checked_texts(f"{by}s", codes if codes is not None else ids or ())
        found: dict[str, list[InvoiceRef]] = {}
        for part in _slices(keys, self._config.batch_size):
            engine = self._open()
            found.update(await engine.direct(engine.api.call(endpoints.flow_invoices(by, part))))
        return found

    # Files

    async def upload(self, path_or_bytes: Path | str | bytes, name: str | None = None) -> Attachment:
        r"""Upload a file of at most 30 MB.

        `name` must not contain `? \ / * < > : " |`. It defaults to the file's own name, with `_` in place of these
        characters. Raises `ConfigError` before anything is sent if the file is unreadable or empty, or its name or size
        is not allowed, and the errors common to all calls. Vendor path: `/api/openapi/v2/attachment/upload`
        """
        source = path_or_bytes if isinstance(path_or_bytes, bytes) else checked_path(path_or_bytes)
        engine = self._open()
        return await engine.direct(upload(engine.api, source, name))

    async def download_urls(
        self, attachments: Iterable[Attachment], expires_in: int = MAX_URL_LIFE
    ) -> dict[Attachment, FileUrl]:
        """Return signed URLs of attachments, valid for `expires_in` seconds (1 to 1800).

        Attachments that are missing from the vendor's answer are left out. At most 100 go into one request.
        Raises `ConfigError` for wrong arguments, and the errors common to all calls.
        Vendor path: `/api/openapi/v2/attachment/downloadurls`
        """
        checked_whole("expires_in", expires_in, most=MAX_URL_LIFE)
        if not isinstance(attachments, Iterable):
            raise ConfigError("attachments must be several Attachment objects")
        wanted = list(dict.fromkeys(checked_attachment(each) for each in attachments))
        engine = self._open()
        found: dict[Attachment, FileUrl] = {}
        for part in _slices(wanted, MAX_DOWNLOAD_URLS):
            found.update(await engine.direct(fetch_download_urls(engine.api, part, expires_in)))
        return {each: found[each] for each in wanted if each in found}

    def download_invoices(
        self, invoice_ids: Iterable[str] | AsyncIterable[str], directory: Path | str
    ) -> AsyncGenerator[Outcome[str, Path], None]:
        """Download the files of any number of invoices into a directory; yield their paths in order of completion.

        A file's name combines the vendor's name and the invoice ID, as `hotel-7c9e0b1f6a2d4e85.pdf`; a file that exists
        is not fetched again. A missing directory is created. An ID given twice has two outcomes with the same path.
        A bounded number of IDs is held at a time. Raises `ConfigError` if the directory cannot be used, and what
        iterating over `invoice_ids` raises; an error of one invoice, as `InvoiceNotFoundError`, is `outcome.error`.
        Vendor path of the URLs: `/api/openapi/v2/extension/INVOICE/url`
        """
        return self.downloads(directory).stream(checked_inputs("invoice_ids", invoice_ids))

    def downloads(self, directory: Path | str) -> Downloads:
        """Return the downloads into a directory, to fetch single files: `fetch(invoice_id)` returns the path.

        Raises `ConfigError` if `directory` is no path.
        """
        if not isinstance(directory, Path | str):
            raise ConfigError(f"directory must be a path, not {type(directory).__name__}")
        return Downloads(self._open(), self._transport, self._config, Path(directory))

    # The session itself

    def stats(self) -> SessionStats:
        """Return a snapshot of the session's counters. Raises `SessionClosedError` if it was closed unused."""
        return (self._engine or self._open()).stats()

    def metrics(self) -> dict[str, int | float]:
        """Return the counters of `stats` and the current state of the pace as one flat dict: `{"ocr.queued": 3, …}`.

        `….interval_seconds` is the time between two starts, `….wait_seconds` the time until the next slot,
        `….duration_seconds` the duration of recent calls. Once the session is open, any thread may call this.
        Raises as `stats` does.
        """
        return flat_metrics(self._engine or self._open())

    def observe(self, hooks: Hooks) -> None:
        """Call `hooks` for each event of the session's calls, after those of earlier calls of this method.

        Raises `ConfigError` if the session has been used or closed.
        """
        if self._engine is not None or self._closed:
            raise ConfigError("a session that has been used already cannot be observed from its beginning")
        self._hooks.append(hooks)

    def _open(self) -> Engine:
        if self._closed:
            raise SessionClosedError("the session is closed")
        if self._engine is not None and self._engine.loop is not asyncio.get_running_loop():
            raise ConfigError("a session belongs to the event loop it was first used in")
        if self._engine is None:
            self._engine = Engine(
                self._credentials,
                self._base_url,
                self._transport,
                self._pacer or ProcessPacer(),
                self._token_store or ProcessTokens(),
                self._config,
                self._hooks,
            )
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


def check_pacer_and_store(pacer: Pacer | None, token_store: TokenStore | None) -> None:
    """Raise `ConfigError` for an object that is no `Pacer`, or no `TokenStore`."""
    if pacer is not None and not isinstance(pacer, Pacer):
        raise ConfigError(f"pacer must be a MachinePace or the like, not {type(pacer).__name__}")
    if token_store is not None and not isinstance(token_store, TokenStore):
        raise ConfigError(f"token_store must be MachineTokens or the like, not {type(token_store).__name__}")


def _max_wait(seconds: float | None) -> float | None:
    return None if seconds is None or seconds == math.inf else checked_number("max_wait", seconds)


async def _result(job: Job[T]) -> T:
    """Return the result of a job, and cancel the job if the waiting task, its only owner, is cancelled."""
    try:
        return await job
    finally:
        job.cancel()


def no_such_invoice(invoice_id: str) -> InvoiceNotFoundError:
    """Return the error for an ID that the vendor leaves out of its answer."""
    error = InvoiceNotFoundError("no such invoice", status=200, endpoint=endpoints.INVOICE_URLS.path)
    return error.about(invoice_id)


def _with_invoice_id(answer: T, invoice_id: str) -> T:
    """Return the answer; if it is a refusal that the ID may have caused, add the ID to it."""
    if isinstance(answer, ApiError) and may_be_one_keys_fault(answer):
        return answer.about(invoice_id)
    return answer


def _without_refusals(found: dict[str, T | EkbError | None]) -> dict[str, T | None]:
    """Return the answers, None for an ID that the vendor refused. Raise an error that no single ID has caused."""
    refused = {invoice_id: answer for invoice_id, answer in found.items() if isinstance(answer, EkbError)}
    for error in refused.values():
        if error.of_request or not may_be_one_keys_fault(error):
            raise error
    if refused and len(refused) == len(found) and refused_alike(refused):
        raise next(iter(refused.values()))
    return {invoice_id: None if isinstance(answer, EkbError) else answer for invoice_id, answer in found.items()}


def _slices(items: Sequence[T], size: int) -> list[Sequence[T]]:
    return [items[i : i + size] for i in range(0, len(items), size)]
