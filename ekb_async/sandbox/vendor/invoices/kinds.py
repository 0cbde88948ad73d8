"""The kinds of invoice in the sandbox, and the names of the fields for number, code, date and amount of each.

`extras` are further fields of a kind with fixed values, so that its form looks like the vendor's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ekb_async.sandbox.vendor.invoices.entities import ENTITIES, VAT_ENTITY


@dataclass(frozen=True, kw_only=True)
class SampleKind:
    """One kind: its OCR type code, its entity, and the names of its fields after `<entity>_` ("" = no such field)."""

    ocr_type: str
    entity: str = VAT_ENTITY
    vat_category: str = ""
    number: str = ""
    code: str = ""
    date: str = ""
    total: str = "金额"
    extras: Mapping[str, Any] = field(default_factory=dict)
    ocr_extras: Mapping[str, Any] = field(default_factory=dict)

    @property
    def object_id(self) -> str:
        """The kind's word in the paths of the ledger, such as `train`."""
        return ENTITIES[self.entity].object_id

    def search_code(self, code: str, number: str) -> str:
        """Return what the ledger finds an invoice by: "code:number", ":number" without a code; "" for no number."""
        if self.entity == VAT_ENTITY:
            return f"{code}:{number}"
        return f"{code if self.code else ''}:{number}" if self.number else ""


KINDS: Mapping[str, SampleKind] = {
    "vat_special": SampleKind(ocr_type="10100", vat_category="PAPER_SPECIAL"),
    "vat_special_electronic": SampleKind(
        ocr_type="10100", vat_category="DIGITAL_SPECIAL", ocr_extras={"electronic_mark": 1}
    ),
    "vat_normal": SampleKind(ocr_type="10101", vat_category="PAPER_NORMAL"),
    "vat_electronic": SampleKind(ocr_type="10102", vat_category="DIGITAL_NORMAL", ocr_extras={"electronic_mark": 1}),
    "block_chain": SampleKind(ocr_type="10102", vat_category="BLOCK_CHAIN", ocr_extras={"block_chain": 1}),
    "vat_roll": SampleKind(ocr_type="10103", vat_category="PAPER_ROLL"),
    "car_sale": SampleKind(ocr_type="10104", vat_category="PAPER_CAR"),
    "used_car_sale": SampleKind(ocr_type="10105", vat_category="SECOND_CAR"),
    "digital_special": SampleKind(ocr_type="10107", vat_category="FULL_DIGITAl_SPECIAL"),
    "digital_normal": SampleKind(ocr_type="10108", vat_category="FULL_DIGITAl_NORMAL"),
    "vat_toll": SampleKind(ocr_type="10109", vat_category="PAPER_FEE"),
    "electronic_flight": SampleKind(ocr_type="105060", vat_category="ELECTRONIC_AIRCRAFT_INVOICE"),
    "electronic_train": SampleKind(ocr_type="105030", vat_category="ELECTRONIC_TRAIN_INVOICE"),
    "train": SampleKind(
        ocr_type="10503",
        entity="system_火车票",
        number="号码",
        date="乘车时间",
        extras={
            "上车车站": "杭州东",
            "下车车站": "南京南",
            "车次": "G7612",
            "座位类型": "二等座",
            "乘车人姓名": "王小明",
        },
        ocr_extras={"station_geton": "杭州东", "station_getoff": "南京南", "train_number": "G7612", "seat": "二等座"},
    ),
    "taxi": SampleKind(
        ocr_type="10500",
        entity="system_出租车票",
        number="发票号码",
        code="发票代码",
        date="上车时间",
        extras={
            "里程": "12.4",
            "车牌号码": "浙A·T1234",
            "城市": "杭州市",
            "省份": "浙江省",
            "发票所在地": "浙江省杭州市",
        },
        ocr_extras={"mileage": "12.4", "license_plate": "浙A·T1234", "place": "浙江省杭州市"},
    ),
    "toll": SampleKind(
        ocr_type="10507",
        entity="system_过路费发票",
        number="发票号码",
        code="发票代码",
        date="时间",
        extras={"入口": "余杭", "出口": "安吉"},
        ocr_extras={"entrance": "余杭", "exit": "安吉"},
    ),
    "coach": SampleKind(
        ocr_type="10505",
        entity="system_客运汽车发票",
        number="发票号码",
        code="发票代码",
        date="时间",
        extras={"出发车站": "杭州客运中心", "达到车站": "绍兴客运中心", "姓名": "王小明"},
        ocr_extras={"station_geton": "杭州客运中心", "station_getoff": "绍兴客运中心"},
    ),
    "flight": SampleKind(
        ocr_type="10506",
        entity="system_航空运输电子客票行程单",
        number="电子客票号码",
        date="填开日期",
        extras={"出发站": "杭州", "到达站": "成都", "航班号": "CA1711", "座位等级": "Y", "乘机人姓名": "王小明"},
        ocr_extras={"flights": [{"from": "杭州", "to": "成都", "flight_number": "CA1711", "seat": "Y"}]},
    ),
    "fixed_amount": SampleKind(ocr_type="10200", entity="system_定额发票", number="号码", code="发票代码"),
    "machine_printed": SampleKind(
        ocr_type="10400",
        entity="system_机打发票",
        number="发票号码",
        code="发票代码",
        date="时间",
        extras={"发票种类": "通用机打发票", "是否有印章": 1, "所属省份": "浙江省", "所属城市": "杭州市"},
    ),
    "receipt": SampleKind(ocr_type="20100", entity="system_消费小票", date="时间", extras={"店名": "湖滨便利店"}),
    "medical": SampleKind(
        ocr_type="102021",
        entity="system_医疗发票",
        number="票据号码",
        code="票据代码",
        date="开票日期",
        total="金额合计",
        extras={"交款人": "王小明", "发票种类": "医疗门诊收费票据"},
    ),
    "non_tax": SampleKind(
        ocr_type="102015",
        entity="system_非税收入类票据",
        number="票据号码",
        code="票据代码",
        date="开票日期",
        total="金额合计",
        extras={"发票种类": "非税收入通用票据"},
    ),
    "other": SampleKind(ocr_type="10900", entity="system_其他", date="日期"),
    "overseas": SampleKind(ocr_type="", entity="system_海外发票", number="发票号码", date="开票日期"),
}
