"""Documents (单据), with the invoices and the files on them.

From `/api/openapi/v2/extension/flow/INVOICE/search`, `/api/openapi/v1.1/docs/getApplyList` and
`/api/openapi/v1/flowDetails/attachment`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, ClassVar

from msgspec import Raw

from ekb_async.models.files import Attachment
from ekb_async.models.kinds import InvoiceKind
from ekb_async.models.urls import expiry
from ekb_async.models.wire import coerce
from ekb_async.models.wire.envelope import MISSING, entries, members, value_of
from ekb_async.models.wire.fields import moment, money, negated, rate, text, texts
from ekb_async.models.wire.model import Model, MonetaryModel
from ekb_async.redaction.signed_urls import without_query


class InvoiceRef(Model, frozen=True, eq=False):
    """One linked invoice: its ID, and the IDs of its linked lines."""

    shown: ClassVar = ("invoice_id", "item_ids", "type")
    derived: ClassVar = ("kind",)

    invoice_id = text("invoiceId")
    """发票ID."""
    item_ids = texts("invoiceItemId")
    """发票明细ID. IDs of the linked lines."""
    type = text("invoiceType")
    """The vendor's word for the kind, such as `train`."""

    @property
    def kind(self) -> InvoiceKind:
        """The kind of `type`."""
        return InvoiceKind(self.type or "")


class DocumentInvoice(MonetaryModel, frozen=True, eq=False):
    """An invoice on an item of a document."""

    shown: ClassVar = ("invoice_id", "item_ids", "tax_amount")

    invoice_id = text("invoiceId")
    """发票ID."""
    item_ids = texts("itemIds")
    """发票明细ID. IDs of the linked lines."""
    tax_amount = money("taxAmount")
    """可抵扣税额."""
    tax_rate = rate("taxRate")
    """税率 as a fraction."""


class DocumentAttachment(Model, frozen=True, eq=False):
    """A file attached to a document or to one of its items."""

    shown: ClassVar = ("id", "name")

    id = text("fileId")
    """文件ID."""
    key = text("key")
    name = text("fileName")
    """文件名."""

    @property
    def attachment(self) -> Attachment:
        """The file as `ocr`, `verify` and `download_urls` take it."""
        return Attachment(self.id or "", self.key or "")


class Document(Model, frozen=True, eq=False):
    """单据: an expense claim, loan, payment or the like."""

    shown: ClassVar = ("code", "type", "state", "title", "is_deleted", "updated_at")
    derived: ClassVar = ("code", "title", "submitter_id", "invoices", "attachments")
    parts: ClassVar = {"form": Raw}

    id = text("id")
    """单据ID."""
    state = text("state")
    """单据状态, such as `paid`."""
    type = text("formType")
    """单据类型, such as `expense`."""
    owner_id = text("ownerId")
    """制单人ID."""
    updated_at = moment("updateTime")
    """更新时间."""
    is_deleted = negated("active")
    """是否已删除. The opposite of the vendor's `active`."""
    record_code = text("code")

    @property
    def code(self) -> str | None:
        """单据编号."""
        return self.record_code or _text(self._form(), "code")

    @property
    def title(self) -> str | None:
        """标题."""
        return _text(self._form(), "title")

    @property
    def submitter_id(self) -> str | None:
        """提交人ID."""
        return _text(self._form(), "submitterId")

    @property
    def invoices(self) -> list[DocumentInvoice]:
        """发票. The invoices of all items, in their order."""
        forms = (members(item.get("invoiceForm", MISSING)) for item in self._items())
        found = (DocumentInvoice._from(raw) for form in forms for raw in entries(form.get("invoices", MISSING)))
        return [invoice for invoice in found if invoice.invoice_id]

    @property
    def attachments(self) -> list[DocumentAttachment]:
        """附件. The files of the document and of all items, in their order."""
        holders = (self._form(), *self._items())
        found = (
            DocumentAttachment._from(raw) for holder in holders for raw in entries(holder.get("attachments", MISSING))
        )
        return [file for file in found if file.id and file.key]

    def _form(self) -> dict[str, Raw]:
        return members(self._wire.form)

    def _items(self) -> Iterator[dict[str, Raw]]:
        for item in entries(self._form().get("details", MISSING)):
            yield members(members(item).get("feeTypeForm", MISSING))


class _File(Model, frozen=True, eq=False):
    """A file with a signed URL, valid for one hour; a `repr` shows the URL without its query."""

    shown: ClassVar[tuple[str, ...]] = ("id", "name", "expires_at")
    derived: ClassVar = ("expires_at",)

    id = text("fileId")
    """文件ID."""
    key = text("key")
    name = text("fileName")
    """文件名."""
    url = text("url")
    """下载地址."""

    @property
    def expires_at(self) -> datetime | None:
        """When `url` expires, at UTC+8; None if the URL does not contain it."""
        return expiry(self.url or "")

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [*super().__rich_repr__(), ("url", without_query(self.url or ""))]


class DocumentFile(_File, frozen=True, eq=False):
    """An attached file with its URL."""


class DocumentInvoiceFile(_File, frozen=True, eq=False):
    """The file of an invoice on a document. On the wire, the names of code and number are swapped."""

    shown: ClassVar = ("code", "number", "name", "expires_at")

    code = text("invoiceNumber")
    """发票代码; `invoiceNumber` on the wire."""
    number = text("invoiceCode")
    """发票号码; `invoiceCode` on the wire."""
    invoice_id = text("invoiceId")
    """发票ID."""


class DocumentPlace(Model, frozen=True, eq=False):
    """The files at one place of a document."""

    shown: ClassVar = ("type",)
    derived: ClassVar = ("files", "invoice_files")
    parts: ClassVar = {"attachmentUrls": Raw, "invoiceUrls": Raw}

    type = text("type")
    """The place, such as `flow.body` or `flow.free`."""

    @property
    def files(self) -> list[DocumentFile]:
        """附件. The attached files."""
        return [DocumentFile._from(raw) for raw in entries(self._wire.attachmentUrls)]

    @property
    def invoice_files(self) -> list[DocumentInvoiceFile]:
        """发票文件. The files of invoices."""
        return [DocumentInvoiceFile._from(raw) for raw in entries(self._wire.invoiceUrls)]


class DocumentFiles(Model, frozen=True, eq=False):
    """All files of one document, by place."""

    shown: ClassVar = ("code", "files", "invoice_files")
    derived: ClassVar = ("places",)
    parts: ClassVar = {"attachmentList": Raw}

    id = text("flowId")
    """单据ID."""
    code = text("flowCode")
    """单据编号."""

    @property
    def places(self) -> list[DocumentPlace]:
        """The places of the document that have files."""
        return [DocumentPlace._from(raw) for raw in entries(self._wire.attachmentList)]

    @property
    def files(self) -> list[DocumentFile]:
        """附件. The attached files of all places."""
        return [file for place in self.places for file in place.files]

    @property
    def invoice_files(self) -> list[DocumentInvoiceFile]:
        """发票文件. The files of invoices of all places."""
        return [file for place in self.places for file in place.invoice_files]


def _text(found: dict[str, Raw], name: str) -> str | None:
    return coerce.text(value_of(found.get(name, MISSING)))
