"""The calls that are free: invoices by ID, and files.

Look-ups by ID go through a `Batcher` (many IDs in one request), all others straight to `Api`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from pathlib import Path
from typing import Any, Literal, overload

from ekb_async.aio.batch_search import slices
from ekb_async.errors import ConfigError, EkbError
from ekb_async.files.attachments import checked_attachment, fetch_download_urls, upload
from ekb_async.models import (
    Attachment,
    FileUrl,
    InvoiceDetail,
    InvoiceRef,
    InvoiceUrl,
)
from ekb_async.protocol import endpoints
from ekb_async.protocol.endpoints import MAX_DOWNLOAD_URLS, MAX_URL_LIFE
from ekb_async.queue.bulk import Outcome
from ekb_async.session.downloads import Downloads
from ekb_async.session.invoice_errors import no_such_invoice, with_invoice_id, without_refusals
from ekb_async.session.opening import SessionBase
from ekb_async.validation import (
    checked_inputs,
    checked_path,
    checked_text,
    checked_texts,
    checked_whole,
)


class FreeCalls(SessionBase):
    """The free calls of a session."""

    # Invoices by ID

    async def invoice_url(self, invoice_id: str) -> InvoiceUrl:
        """Return the download URL of an invoice's file, valid for an hour. Concurrent calls share requests.

        Raises `InvoiceNotFoundError` for an unknown ID, and the errors common to all calls.
        Vendor path: `/api/openapi/v2/extension/INVOICE/url`
        """
        try:
            found = await self._open().urls.load(checked_text("invoice_id", invoice_id))
        except EkbError as error:
            raise with_invoice_id(error, invoice_id) from error.__cause__
        if found is None:
            raise no_such_invoice(invoice_id)
        return found

    async def invoice_urls(self, invoice_ids: Iterable[str]) -> dict[str, InvoiceUrl | None]:
        """Return the download URLs of many invoices' files; None for an ID that is unknown or that the vendor refuses.

        The IDs keep their order; duplicates are dropped. If all IDs are refused alike, the call itself has failed and
        its error is raised. Vendor path: `/api/openapi/v2/extension/INVOICE/url`
        """
        return without_refusals(await self._open().urls.load_each(checked_texts("invoice_ids", invoice_ids)))

    async def invoice_details(self, invoice_id: str) -> list[InvoiceDetail]:
        """Return the lines of an invoice; empty if it has none or is unknown. Concurrent calls share requests.

        Raises the errors common to all calls. Vendor path:
        `/api/openapi/v2/extension/INVOICE/object/invoice/detailBatch`, or `…/invoice/{invoiceId}/detail` without it.
        """
        try:
            return await self._open().details.load(checked_text("invoice_id", invoice_id)) or []
        except EkbError as error:
            raise with_invoice_id(error, invoice_id) from error.__cause__

    async def invoice_details_many(self, invoice_ids: Iterable[str]) -> dict[str, list[InvoiceDetail]]:
        """Return the lines of many invoices; empty for an ID that has no lines, is unknown or that the vendor refuses.

        The IDs keep their order; duplicates are dropped. Raises as `invoice_urls` does.
        Vendor paths as for `invoice_details`.
        """
        found = without_refusals(await self._open().details.load_each(checked_texts("invoice_ids", invoice_ids)))
        return {invoice_id: lines or [] for invoice_id, lines in found.items()}

    @overload
    async def look_up(self, kind: Literal["url"], invoice_ids: Iterable[str]) -> dict[str, InvoiceUrl | EkbError]: ...

    @overload
    async def look_up(
        self, kind: Literal["detail"], invoice_ids: Iterable[str]
    ) -> dict[str, list[InvoiceDetail] | EkbError]: ...

    async def look_up(self, kind: Literal["url", "detail"], invoice_ids: Iterable[str]) -> dict[str, Any]:
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
                each: no_such_invoice(each) if link is None else with_invoice_id(link, each)
                for each, link in links.items()
            }
        else:
            details = await self._open().details.load_each(lookable)
            found = {each: [] if lines is None else with_invoice_id(lines, each) for each, lines in details.items()}
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
        for part in slices(keys, self._config.batch_size):
            engine = self._open()
            documents = await engine.direct(engine.api.call(endpoints.flow_invoices(by, part)))
            engine.ledger.note_references(documents)
            found.update(documents)
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
        for part in slices(wanted, MAX_DOWNLOAD_URLS):
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
