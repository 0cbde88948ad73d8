"""The entities of invoices: the fields of every kind and of the lines, with their types, and the `entity` schema.

A type that starts with `-` is that of a field which answers contain although the schema does not declare it. Fields
without a value in a sample are in the ledger's answers too, with the value of `_EMPTY`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

VAT_ENTITY = "system_发票主体"
LINE_ENTITY = "system_发票明细"

_EMPTY: Mapping[str, Any] = {"text": "", "money": None, "date": None, "switcher": False, "number": 0, "null": None}
_LABELS = {"name": "名称", "code": "编码", "来源": "发票导入方式", "验真": "开关", "验签": "验签开关"}
_PICTURE = {"text": "图片 来源 识别范围", "-number": "方向"}
_FILES = {**_PICTURE, "-null": "OFD PDF"}
_SOURCE = {"text": "system_收票状态 system_票据来源_sourceEntityId"}
_TAXED = {"text": f"{_SOURCE['text']} 税率", "money": "不计税金额 税额", "switcher": "是否抵扣"}


class Entity(msgspec.Struct, frozen=True, kw_only=True):
    """One entity: `object_id` is its word in the paths of the ledger, `label` its name.

    The names of fields by type: `own` follow `E_<entity>_`, `shared` follow `E_system_发票主体_`, `plain` follow `E_`.
    """

    id: str
    object_id: str
    label: str
    own: Mapping[str, str]
    shared: Mapping[str, str] = {}
    plain: Mapping[str, str] = {}

    def fields(self) -> Iterator[tuple[str, str, str]]:
        """Yield wire name, label and type of every field."""
        for prefix, group in ((f"E_{self.id}_", self.own), (f"E_{VAT_ENTITY}_", self.shared), ("E_", self.plain)):
            for kind, names in group.items():
                for name in names.split():
                    yield prefix + name, _LABELS.get(name, name.removeprefix("system_")), kind


_VAT = Entity(
    id=VAT_ENTITY,
    object_id="invoice",
    label="发票主体",
    own={
        "text": "code name 发票代码 发票号码 发票状态 发票类别 备注 来源 编号 购买方名称 购买方地址电话"
        " 购买方开户行及账号 购买方纳税人识别号 进销项标识 销售方名称 销售方地址电话"
        " 销售方开户行及账号 销售方纳税人识别号",
        "money": "价税合计 发票金额 税额",
        "date": "发票日期",
        "switcher": "是否有发票原件 验真 验签",
        "-text": "发票印刷号码 图片 复核人 开票人 收款人 校验码 识别范围",
        "-null": "PDF cardId encryptCode",
        "-switcher": "ifNormOpen",
        "-number": "方向",
    },
    plain=_TAXED,
)
_RECEIPTS = (
    Entity(
        id="system_其他",
        object_id="other",
        label="其他",
        own={"date": "日期", "money": "金额"},
        shared={**_PICTURE, "-switcher": "是否有发票原件 验签"},
        plain=_TAXED,
    ),
    Entity(
        id="system_出租车票",
        object_id="taxi",
        label="出租车票",
        own={
            "date": "上车时间 下车时间",
            "text": "发票代码 发票号码 发票所在地 消费类型 车牌号码 里程",
            "-text": "城市 省份",
            "money": "金额",
        },
        shared=_FILES,
        plain=_SOURCE,
    ),
    Entity(
        id="system_定额发票",
        object_id="fixed",
        label="定额发票",
        own={"text": "发票代码 号码 消费类型", "money": "金额"},
        shared=_FILES,
        plain=_SOURCE,
    ),
    Entity(
        id="system_客运汽车发票",
        object_id="passengerCar",
        label="客运汽车发票",
        own={"text": "出发车站 发票代码 发票号码 姓名 消费类型 达到车站", "date": "时间", "money": "金额"},
        shared=_FILES,
        plain=_TAXED,
    ),
    Entity(
        id="system_机打发票",
        object_id="machinePrint",
        label="机打发票",
        own={
            "text": "发票代码 发票号码 发票种类 所属城市 所属省份 是否有印章 校验码 购买方名称 购买方税号"
            " 销售方名称 销售方税号",
            "date": "时间",
            "money": "税额 金额",
        },
        shared={**_FILES, "switcher": "是否有发票原件", "-switcher": "ifNormOpen"},
        plain=_TAXED,
    ),
    Entity(
        id="system_消费小票",
        object_id="shopping",
        label="消费小票",
        own={"text": "店名 消费类型", "-text": "币种", "date": "时间", "money": "小计 小费 折扣 税费 金额"},
        shared=_FILES,
        plain=_SOURCE,
    ),
    Entity(
        id="system_火车票",
        object_id="train",
        label="铁路客票",
        own={
            "text": "上车车站 下车车站 乘车人姓名 号码 座位类型 消费类型 车次",
            "-text": "序列码",
            "date": "乘车时间",
            "money": "金额",
        },
        shared=_PICTURE,
        plain=_TAXED,
    ),
    Entity(
        id="system_航空运输电子客票行程单",
        object_id="flightItinerary",
        label="航空运输电子客票行程单",
        own={
            "text": "乘机人姓名 出发站 到达站 填开单位 座位等级 消费类型 电子客票号码 航班号"
            " 身份证号 销售单位代号 验证码",
            "date": "乘机时间 填开日期",
            "money": "保险费 民航发展基金 燃油附加费 票价 税费 金额",
        },
        shared=_FILES,
        plain=_TAXED,
    ),
    Entity(
        id="system_过路费发票",
        object_id="tolls",
        label="过路费发票",
        own={"text": "入口 出口 发票代码 发票号码 消费类型", "date": "时间", "money": "金额"},
        shared=_PICTURE,
        plain={"text": _TAXED["text"], "money": "税额", "-switcher": "是否抵扣"},
    ),
    Entity(
        id="system_医疗发票",
        object_id="medical",
        label="医疗发票",
        own={"text": "交款人 发票种类 校验码 票据代码 票据号码", "date": "开票日期", "money": "金额合计"},
        shared=_FILES,
        plain=_SOURCE,
    ),
    Entity(
        id="system_非税收入类票据",
        object_id="noTaxIncome",
        label="财政票据",
        own={
            "text": "发票类别 校验码 票据代码 票据号码",
            "-text": "发票种类 收款单位",
            "date": "开票日期",
            "money": "金额合计",
        },
        shared={
            "text": "来源",
            "-text": "code name 发票代码 发票号码 图片 识别范围",
            "-number": "方向",
            "-null": "OFD PDF",
            "-switcher": "验真",
        },
        plain=_SOURCE,
    ),
    # Seen in use only: its entity and its fields are on no page of the vendor.
    Entity(
        id="system_海外发票",
        object_id="overseasInvoice",
        label="海外发票",
        own={"text": "发票号码 销售方名称", "date": "开票日期", "money": "金额"},
        shared=_FILES,
        plain=_SOURCE,
    ),
)
_LINE = Entity(
    id=LINE_ENTITY,
    object_id="",
    label="发票明细",
    own={
        "text": "name code 税率 数量 车牌号 类型",
        "money": "单价 金额 税额",
        "date": "通行日期起 通行日期止",
    },
)

ENTITIES: Mapping[str, Entity] = {entity.id: entity for entity in (_VAT, *_RECEIPTS)}
OBJECT_IDS = frozenset(entity.object_id for entity in ENTITIES.values())
"""The words for the kinds in the paths of the ledger and in the answers about documents."""


@functools.cache
def empty_fields(entity_id: str) -> Mapping[str, Any]:
    """Return all fields of an entity's form, without values; the box of a picture is an empty array."""
    fields = {name: _EMPTY[kind.removeprefix("-")] for name, _, kind in ENTITIES[entity_id].fields()}
    return fields | {name: [] for name in fields if name.endswith("_识别范围")}


@functools.cache
def schema_of(entity_id: str) -> msgspec.Raw:
    """Return the `entity` of an item: the description of its fields, most of the item's bytes."""
    entity = _LINE if entity_id == LINE_ENTITY else ENTITIES[entity_id]
    fields = [
        {
            "name": name,
            "label": label,
            "type": kind,
            "source": "dataLink",
            "optional": False,
            "defaultValue": None,
            "formula": False,
            "calculation": {"dependencies": [], "dependenciesBy": [], "order": -1},
        }
        for name, label, kind in entity.fields()
        if not kind.startswith("-")
    ]
    schema = {
        "id": entity.id,
        "name": entity.label,
        "active": True,
        "version": 2,
        "type": "DIMENSION",
        "fields": fields,
    }
    return msgspec.Raw(msgspec.json.encode(schema))
