"""Lines of a value-added-tax invoice (发票明细).

They have two shapes. From `/api/openapi/v2/extension/INVOICE/object/invoice/{id}/detail`, the fields are at the top
level, next to a schema that makes up four fifths of the bytes and is skipped. From OCR + verification, they are in
`form`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

from msgspec import Raw

from ekb_async.models.wire.envelope import MISSING
from ekb_async.models.wire.fields import day, moment, money, negated, numeric, printed, rate, text, whole
from ekb_async.models.wire.model import MonetaryModel
from ekb_async.models.wire.source import Source
from ekb_async.models.wire.wire_structs import override, wire_list_of, wire_of, wire_type

_LINE = "E_system_发票明细_"


class InvoiceDetail(MonetaryModel, frozen=True, eq=False):
    """发票明细: one line of an invoice, from either call."""

    shown: ClassVar = ("id", "name", "quantity", "amount", "tax_rate_text", "tax", "currency")
    parts: ClassVar = {"form": Raw}

    id = text("id")
    """发票明细ID."""
    invoice_id = text("masterId")
    """发票ID of the invoice that the line belongs to."""
    name = text(_LINE + "name")
    """名称. Goods or service, with its tax class between asterisks: `*餐饮服务*餐费`."""
    specification = text(_LINE + "规格型号")
    """规格型号."""
    unit = text(_LINE + "单位")
    """单位."""
    quantity = numeric(_LINE + "数量")
    """数量."""
    unit_price = money(_LINE + "单价")
    """单价, excluding tax."""
    amount = money(_LINE + "金额")
    """金额, excluding tax."""
    tax_rate = rate(_LINE + "税率")
    """税率 as a fraction; None for words such as 免税."""
    tax_rate_text = printed(_LINE + "税率")
    """税率 as printed: `6%`, 免税, 不征税, `***`."""
    tax = money(_LINE + "税额")
    """税额."""
    is_used = negated("active")
    """是否已使用. Whether the line is linked to a document already; the opposite of the vendor's `active`."""
    type = text(_LINE + "类型")
    """类型. Type of the vehicle, on invoices for road tolls."""
    plate_number = text(_LINE + "车牌号")
    """车牌号."""
    passed_from = day(_LINE + "通行日期起")
    """通行日期起. First day of passage, on invoices for road tolls."""
    passed_until = day(_LINE + "通行日期止")
    """通行日期止. Last day of passage."""
    code = text(_LINE + "code")
    """编码 of the vendor's record."""
    entity_id = text("entityId")
    owner_id = text("ownerId")
    use_count = whole("useCount")
    total_count = whole("totalCount")
    created_at = moment("createTime")
    updated_at = moment("updateTime")

    @classmethod
    def _from(cls, raw: Raw) -> Self:
        wire = wire_of(_WIRE, raw)
        return cls(wire if wire.form is MISSING else _flat(wire), Source(raw))

    @classmethod
    def _all_flat(cls, structs: Sequence[Any], source: Source) -> list[Self]:
        """Return the lines of a reply's list, each of which may have either shape."""
        # A loop, as in `Model._all`.
        lines: list[Self] = []
        for wire in structs:
            lines.append(cls(wire if wire.form is MISSING else _flat(wire), source, (len(lines),)))
        return lines

    @classmethod
    def _all_in(cls, listed: Raw) -> list[Self]:
        """Return the lines of a list; an empty list if `listed` is not a list."""
        return cls._all_flat(wire_list_of(_WIRE, listed), Source(listed))


_WIRE: Any = wire_type(InvoiceDetail)


def _flat(wire: Any) -> Any:
    """Return the wire struct of a line with all fields at the top level."""
    flat = wire_of(_WIRE, wire.form)
    override(flat, wire, _WIRE.__struct_fields__)
    return flat
