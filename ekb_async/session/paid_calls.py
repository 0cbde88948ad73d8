"""The billed calls: recognition and verification, each through the queue of its interface."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from datetime import date as Date  # noqa: N812 - a field of the vendor's is called date
from decimal import Decimal
from typing import Any, TypeVar, overload

from ekb_async.config import Priority, checked_priority
from ekb_async.errors import ConfigError, EkbError
from ekb_async.files.urls import CallFile
from ekb_async.models import (
    CheckedInvoice,
    OcrResult,
    VerifyResult,
)
from ekb_async.models.files import FileContent, FileJob, InvoiceFile
from ekb_async.protocol import endpoints
from ekb_async.protocol.endpoints import Request
from ekb_async.queue.bulk import Inputs, Outcome, outcomes
from ekb_async.queue.jobs import Job, JobEnd, JobRetry, Mark, Order, result_of
from ekb_async.session.invoice_errors import with_invoice_id
from ekb_async.session.opening import SessionBase
from ekb_async.validation import (
    checked_inputs,
    checked_number,
    checked_text,
    vendor_amount,
    vendor_date,
)

T = TypeVar("T")
OcrInput = TypeVar("OcrInput", bound=InvoiceFile | FileJob)
OwnStaff = FileJob | tuple[InvoiceFile, str]
VerifyInput = TypeVar("VerifyInput", bound=InvoiceFile | OwnStaff)
OwnStaffInput = TypeVar("OwnStaffInput", bound=OwnStaff)


class PaidCalls(SessionBase):
    """The billed calls of a session."""

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
        try:
            job = self.submit_ocr(file, file_name=file_name, priority=priority, max_wait=max_wait, timeout=timeout)
        finally:
            # The URL may be signed, and error reporters send the locals of each frame.
            del file
        return await result_of(job)

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
        on_retry: JobRetry | None = None,
    ) -> Job[OcrResult]:
        """Queue a call of `ocr` and return its job at once; if nothing has to be waited for, the call starts at once.

        Arguments as for `ocr`. `mark` is awaited before each attempt is sent, with the number of attempts that may be
        billed without an answer then, this one included; if it raises, nothing is sent and the job fails with the
        exception, or is tried again if that is a passing `EkbError`. `on_end` is called with the job when it has ended,
        `on_retry` with the job and the error when a try has failed and another one follows; it may cancel the job. An
        exception in either is logged.

        Raises `ConfigError` for wrong arguments, `QueueFullError`, and `QueueTimeoutError` if the queue is too long for
        `max_wait`. The job raises the other errors of `ocr`.
        """
        order = Order(CallFile(file, file_name), endpoints.ocr, self._timeout(timeout))
        # As in `ocr`.
        del file
        return self._open().ocr.queue.submit(
            order, checked_priority(priority), _max_wait(max_wait), mark, on_end, on_retry
        )

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
        return outcomes(checked_inputs("files", files), submit, engine.ocr.queue.room, engine.scope)

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
        the attachment's key, the local file's name or the URL's last segment. `is_ex_ocr=False` uses the default
        recognition provider of the enterprise's environment. Other arguments as for `ocr`.

        Raises `RecognitionError`, `StaffNotFoundError`, `PermissionDeniedError`, `QueueTimeoutError`, `QueueFullError`
        and the errors common to all calls. Vendor path: `/api/openapi/v2/invoice/multiple_items`
        """
        try:
            job = self.submit_verify(
                file,
                staff_id=staff_id,
                file_name=file_name,
                is_ex_ocr=is_ex_ocr,
                priority=priority,
                max_wait=max_wait,
                timeout=timeout,
            )
        finally:
            # As in `ocr`.
            del file
        return await result_of(job)

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
        on_retry: JobRetry | None = None,
    ) -> Job[VerifyResult]:
        """Queue a call of `verify` and return its job at once, as `submit_ocr` does.

        Arguments as for `verify`, `mark`, `on_end` and `on_retry` as for `submit_ocr`. Raises `ConfigError` for
        wrong ones, `QueueFullError`, and `QueueTimeoutError` if the queue is too long for `max_wait`. The job raises
        the other errors of `verify`.
        """
        checked_text("staff_id", staff_id)
        call_file = CallFile(file, file_name if isinstance(file, bytes) else None)
        # As in `ocr`.
        del file
        name = call_file.name if file_name is None else checked_text("file_name", file_name)

        def request(url: str) -> Request[VerifyResult]:
            return endpoints.verify(url, file_name=name, staff_id=staff_id, is_ex_ocr=is_ex_ocr)

        order = Order(call_file, request, self._timeout(timeout))
        return self._open().verify.queue.submit(
            order, checked_priority(priority), _max_wait(max_wait), mark, on_end, on_retry
        )

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
        return outcomes(checked_inputs("files", files), submit, engine.verify.queue.room, engine.scope)

    async def verify_by_id(self, invoice_id: str) -> CheckedInvoice:
        """Verify an invoice that the vendor already holds. Billed; one start a second by default.

        Raises `InvoiceNotFoundError`, `InvoiceMismatchError`, `QueueFullError` and the errors common to all calls.
        Vendor path: `/api/openapi/v2/invoice/validateByInvoiceId`
        """
        try:
            return await result_of(self.submit_verify_by_id(invoice_id))
        except EkbError as error:
            raise with_invoice_id(error, invoice_id) from error.__cause__

    def submit_verify_by_id(
        self,
        invoice_id: str,
        *,
        priority: Priority = Priority.NORMAL,
        max_wait: float | None = None,
        timeout: float | None = None,
        mark: Mark | None = None,
        on_end: JobEnd | None = None,
        on_retry: JobRetry | None = None,
    ) -> Job[CheckedInvoice]:
        """Queue a call of `verify_by_id` and return its job at once.

        Other arguments and errors as for `submit_ocr`. The job raises the errors of `verify_by_id`.
        """
        request = endpoints.verify_by_id(checked_text("invoice_id", invoice_id))
        order: Order[CheckedInvoice] = Order(None, lambda _: request, self._timeout(timeout))
        return self._open().verify_by_id.queue.submit(
            order, checked_priority(priority), _max_wait(max_wait), mark, on_end, on_retry
        )

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
        return await result_of(
            self.submit_verify_by_fields(code=code, number=number, date=date, amount=amount, check_code=check_code)
        )

    def submit_verify_by_fields(
        self,
        *,
        code: str,
        number: str,
        date: Date | str,
        amount: Decimal | str | float | None = None,
        check_code: str | None = None,
        priority: Priority = Priority.NORMAL,
        max_wait: float | None = None,
        timeout: float | None = None,
        mark: Mark | None = None,
        on_end: JobEnd | None = None,
        on_retry: JobRetry | None = None,
    ) -> Job[CheckedInvoice]:
        """Queue a call of `verify_by_fields` and return its job at once.

        The invoice's fields as for `verify_by_fields`, other arguments and errors as for `submit_ocr`. The job raises
        the errors of `verify_by_fields`.
        """
        if not isinstance(code, str) or not (check_code is None or isinstance(check_code, str)):
            raise ConfigError("code and check_code must be texts")
        request = endpoints.verify_by_fields(
            code, checked_text("number", number), vendor_date(date), vendor_amount(amount), check_code
        )
        order: Order[CheckedInvoice] = Order(None, lambda _: request, self._timeout(timeout))
        queue = self._open().verify_by_fields.queue
        return queue.submit(order, checked_priority(priority), _max_wait(max_wait), mark, on_end, on_retry)

    def _timeout(self, timeout: float | None) -> float:
        if timeout is None:
            return self._config.request_timeout
        return checked_number("timeout", timeout, above=0)


def _max_wait(seconds: float | None) -> float | None:
    return None if seconds is None or seconds == math.inf else checked_number("max_wait", seconds)
