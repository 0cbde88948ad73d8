"""The bodies of the vendor's answers about invoices."""

from __future__ import annotations

import datetime
import hashlib
from decimal import Decimal
from typing import Any

import msgspec

from ekb_async.sandbox.vendor.invoices.entities import LINE_ENTITY, VAT_ENTITY, schema_of
from ekb_async.sandbox.vendor.invoices.sample import CENT, SampleInvoice

_UTC8 = datetime.timezone(datetime.timedelta(hours=8))
_SELLER_TAX_ID = "91330106MA2SANDBX1"
BUYER_TAX_ID = "91330106MA2SANDBX2"
_VISIBILITY = {
    "fullVisible": True,
    "staffs": [],
    "roles": [],
    "departments": [],
    "departmentsIncludeChildren": True,
}


def ocr_answer(invoices: list[SampleInvoice]) -> dict[str, Any]:
    """Return the body of 发票OCR识别."""
    return {
        "value": {
            "platform": "sandbox",
            "invoices": [
                {
                    "type": invoice.shape.ocr_type,
                    "orientation": 0.0,
                    "region": [0.0, 0.0, 1080.0, 640.0],
                    "details": _ocr_details(invoice),
                }
                for invoice in invoices
            ],
            "isExpressImage": False,
        }
    }


def _ocr_details(invoice: SampleInvoice) -> dict[str, Any]:
    common = {
        "code": invoice.code,
        "number": invoice.number,
        "date": f"{invoice.date.year}年{invoice.date.month:02d}月{invoice.date.day:02d}日",
        "total": _amount(invoice.total),
    }
    if invoice.shape.entity != VAT_ENTITY:
        return {**common, **invoice.shape.ocr_extras}
    return {
        **common,
        "pretax_amount": _amount(invoice.total - invoice.tax),
        "tax": _amount(invoice.tax),
        "check_code": _check_code(invoice),
        "seller": invoice.seller,
        "seller_tax_id": _SELLER_TAX_ID,
        "buyer": invoice.buyer,
        "buyer_tax_id": BUYER_TAX_ID,
        "company_seal": 1,
        "kind": "住宿",
        "block_chain": 0,
        "electronic_mark": 0,
        "receiptor": "",
        "reviewer": "",
        "issuer": "周开票",
        "remark": "",
        "item_names": "*住宿服务*住宿费",
        "number_confirm": invoice.number,
        **invoice.shape.ocr_extras,
    }


def verify_answer(invoices: list[SampleInvoice], corporation: str, staff_id: str, at: float) -> dict[str, Any]:
    """Return the body of 发票OCR识别+验真."""
    return {"items": [_verified(invoice, corporation, staff_id, at) for invoice in invoices]}


def _verified(invoice: SampleInvoice, corporation: str, staff_id: str, at: float) -> dict[str, Any]:
    invoice_id = invoice.id_in(corporation)
    master = _object(invoice_id, invoice.shape.entity, corporation, at)
    master.update(form=form_of(invoice), operatorId=staff_id, active=not invoice.linked, masterId=None)
    details = []
    for line_id, form in _lines(invoice, invoice_id) if invoice.has_lines else ():
        line = _object(line_id, LINE_ENTITY, corporation, at)
        line.update(form=form, operatorId=staff_id, active=True, masterId=invoice_id)
        details.append(line)
    return {
        "master": master,
        "details": details,
        "message": invoice.message,
        "status": "SUCCESS" if invoice.usable else "NO_RESULT",
        "ischeck": invoice.usable,
    }


def _object(object_id: str, entity: str, corporation: str, at: float) -> dict[str, Any]:
    code = object_id.partition(":")[2] or object_id
    return {
        "pipeline": 1,
        "grayver": "sandbox",
        "version": 1,
        "createTime": int(at * 1000),
        "updateTime": int(at * 1000),
        "name": code.rpartition(":")[2],
        "nameSpell": code.rpartition(":")[2],
        "code": code,
        "corporationId": corporation,
        "id": object_id,
        "totalCount": 1,
        "useCount": 0,
        "entityId": entity,
        "platformId": "system_发票平台",
        "source": "WRITE",
        "index": 0,
        "visibility": _VISIBILITY,
        "visible": True,
        "ownerId": "",
        "sourceId": "",
        "flowCounts": {},
        "sourceMessage": "",
    }


def form_of(invoice: SampleInvoice) -> dict[str, Any]:
    """Return the fields of an invoice by their wire names."""
    shape = invoice.shape
    form: dict[str, Any] = {
        "E_税额": money(invoice.tax),
        "E_是否抵扣": invoice.tax > 0,
        "E_不计税金额": money(invoice.total - invoice.tax),
        "E_system_收票状态": "NORECEIVE",
        "E_system_发票主体_图片": f"sandbox-{invoice.number}.png",
        "E_system_发票主体_方向": 0,
        "E_system_发票主体_来源": "OCR",
        "E_system_发票主体_识别范围": [0, 0, 1080, 640],
    }
    if shape.entity == VAT_ENTITY:
        return {**form, **_vat_fields(invoice)}
    prefix = f"E_{shape.entity}_"
    form["E_税率"] = "9.0000"
    form[f"{prefix}消费类型"] = "交通"
    form[f"{prefix}{shape.total}"] = money(invoice.total)
    for name, value in ((shape.number, invoice.number), (shape.code, invoice.code), (shape.date, _day(invoice.date))):
        if name:
            form[prefix + name] = value
    form.update({prefix + name: value for name, value in shape.extras.items()})
    return form


def _vat_fields(invoice: SampleInvoice) -> dict[str, Any]:
    fields = {
        "code": invoice.code,
        "name": invoice.number,
        "备注": "",
        "税额": money(invoice.tax),
        "验真": invoice.verified,
        "复核人": "",
        "开票人": "周开票",
        "收款人": "",
        "校验码": _check_code(invoice)[-6:],
        "价税合计": money(invoice.total),
        "发票代码": invoice.code,
        "发票号码": invoice.number,
        "发票日期": _day(invoice.date),
        "发票类别": invoice.shape.vat_category,
        "发票金额": money(invoice.total - invoice.tax),
        "购买方名称": invoice.buyer,
        "购买方地址电话": "",
        "购买方开户行及账号": "",
        "购买方纳税人识别号": BUYER_TAX_ID,
        "销售方名称": invoice.seller,
        "销售方地址电话": "杭州市西湖区文三路1号 0571-00000000",
        "销售方开户行及账号": "沙盒银行 0000000000",
        "销售方纳税人识别号": _SELLER_TAX_ID,
        "发票印刷号码": invoice.number,
    }
    return {f"E_{VAT_ENTITY}_{name}": value for name, value in fields.items()}


def _lines(invoice: SampleInvoice, invoice_id: str) -> list[tuple[str, dict[str, Any]]]:
    """Return one or two lines with their IDs, whose amounts add up to the invoice's."""
    mark = hashlib.sha256(invoice_id.encode()).hexdigest()
    count = 1 + int(mark[0], 16) % 2
    pretax = invoice.total - invoice.tax
    lines = []
    for index in range(count):
        amount, tax = _share(pretax, count, index), _share(invoice.tax, count, index)
        line_id = f"ID01{mark[1:11]}{index}"
        form = {
            "code": line_id,
            "name": "*住宿服务*住宿费" if index == 0 else "*餐饮服务*餐费",
            "单价": money(amount),
            "单位": "",
            "数量": "1",
            "税率": "6%",
            "税额": money(tax),
            "金额": money(amount),
            "规格型号": "",
        }
        lines.append((line_id, {f"E_{LINE_ENTITY}_{name}": value for name, value in form.items()}))
    return lines


def _share(total: Decimal, count: int, index: int) -> Decimal:
    share = (total / count).quantize(CENT)
    return total - share * (count - 1) if index == 0 else share


def detail_items(invoice: SampleInvoice, invoice_id: str) -> list[dict[str, Any]]:
    """Return the invoice's part of `items` in 获取发票明细信息: its lines, each with the full schema of its entity."""
    if not invoice.has_lines:
        return []
    return [
        {
            "id": line_id,
            "masterId": invoice_id,
            "useCount": 0,
            "totalCount": 1,
            "ownerId": None,
            "visibility": {"fullVisible": True, "staff": [], "department": [], "role": []},
            **form,
            "active": True,
            "entityId": LINE_ENTITY,
            "entity": schema_of(LINE_ENTITY),
        }
        for line_id, form in _lines(invoice, invoice_id)
    ]


def checked_answer(invoice: SampleInvoice) -> dict[str, Any]:
    """Return the body of both verifications without a file."""
    line = {"goodsname": "*住宿服务*住宿费", "amount": _amount(invoice.total - invoice.tax), "taxrate": "6"}
    raw = {"invoiceCode": invoice.code, "invoiceNumber": invoice.number, "checkCode": _check_code(invoice)}
    return {
        "value": {
            "invcode": invoice.code,
            "invno": invoice.number,
            "invdate": int(f"{invoice.date:%Y%m%d}"),
            "invamt": float(invoice.total - invoice.tax),
            "invtaxamt": float(invoice.tax),
            "invsumamt": float(invoice.total),
            "payee": invoice.seller,
            "payeetaxno": _SELLER_TAX_ID,
            "payer": invoice.buyer,
            "payertaxno": BUYER_TAX_ID,
            "invtype": invoice.shape.vat_category,
            "itemdata": msgspec.json.encode([line]).decode(),
            "rawdata": msgspec.json.encode(raw).decode(),
            "status": "LOCK" if invoice.linked else "UNLOCK",
            "verify": "DONE",
            "invoiceVerify": True,
        }
    }


def money(amount: Decimal) -> dict[str, Any]:
    """Return an amount in yuan in the vendor's form."""
    return {
        "standard": _amount(amount),
        "standardUnit": "元",
        "standardScale": 2,
        "standardSymbol": "¥",
        "standardNumCode": "156",
        "standardStrCode": "CNY",
    }


def _amount(amount: Decimal) -> str:
    return str(amount.quantize(CENT))


def _day(date: datetime.date) -> int:
    return int(datetime.datetime(date.year, date.month, date.day, tzinfo=_UTC8).timestamp() * 1000)


def _check_code(invoice: SampleInvoice) -> str:
    digest = hashlib.sha256(f"{invoice.code}{invoice.number}".encode()).digest()
    return f"{int.from_bytes(digest[:9]) % 10**20:020d}"
