"""A backlog of some 300 rows with every kind of trouble, for tests of what people look at.

Eight people hand in invoices of all kinds over fourteen months: usable and not, red ones, in other currencies, several
in a file, without lines and with forty, the same one in several files. Rows fail for every cause, wait, are pending.
The content is the same in every run; numbers and amounts come from a fixed seed.
"""

from __future__ import annotations

import csv
import hashlib
import random
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from ekb_async import EkbSession, SessionConfig
from ekb_async.backlog import Backlog
from ekb_async.models.wire.coerce import CHINA
from ekb_async.sandbox import Sandbox
from ekb_async.sandbox.faults import Fault
from ekb_async.sandbox.vendor.exchange import VendorReply, VendorRequest, json_reply
from ekb_async.sandbox.vendor.invoices import SampleInvoice
from tests.support.invoice_files import platform_xml

PEOPLE = {
    "corp:1001": "王小明",
    "corp:1002": "李雷",
    "corp:1003": "韩梅梅",
    "corp:1004": "欧阳娜娜",
    "corp:1005": "Zoë O'Neill-Fitzgerald",
    "corp:1006": "阿卜杜热合曼·买买提",
    "email:chen@example.com": "陈晨",
    "code:0088": "周杰",
}
"""Names of folders by the `staff_id` of a person."""
GONE = "corp:9999"
"""A person whom the vendor does not have."""
HOSTILE = ('=HYPERLINK("http://evil.example/?x=1","点我")', "<script>alert(1)</script>", "+86 571 0000", "@SUM(A1:A9)")
LONG_NAME = "深圳市前海新一代信息技术与高端装备制造产业发展促进及企业管理咨询服务股份有限公司" * 2
SHARED = ("25999900000000000017", "25999900000000000028")
"""Numbers of invoices whose files are read before the call; the vendor's ledger has the second."""
TENANTS = ("", "上海分公司", "north")

_TEXTS = {
    "recognition": (400, "识别失败"),
    "refused": (400, "文件格式不支持，请上传 PDF、OFD 或图片"),
    "too-large": (413, "文件大小超过限制"),
    "gateway": (502, ""),
    "garbage": (200, "<html>登录</html>"),
    "provider": (400, "第三方出现问题请稍后再试"),
    "shapeless": (200, '{"items": 1}'),
}
"""Answers by a word in the name of the file."""
_REFUSED = {"recognition": 7, "refused": 3, "too-large": 1, "gateway": 1, "garbage": 1, "shapeless": 1}
_REASONS = (
    "发票已被使用<br>请更换",
    "发票已作废",
    "购买方名称与企业抬头不一致：演示科技（深圳）有限公司",
    "超过报销期限：开票日期早于 2024-01-01，按公司制度不予报销，请联系财务共享中心（分机 8088）说明情况后重新提交",
    "",
)
_SELLERS = (
    "杭州云栖酒店管理有限公司",
    "上海浦江餐饮服务有限公司",
    "深圳前海办公用品有限公司",
    "成都锦里物流有限公司",
    "中国石化销售股份有限公司浙江杭州石油分公司",
    "北京京东世纪信息技术有限公司",
    "滴滴出行科技有限公司",
    LONG_NAME,
)
_KINDS = (
    ("digital_normal", "住宿费"),
    ("digital_normal", "办公用品"),
    ("vat_electronic", "餐费"),
    ("vat_special", "设备采购"),
    ("digital_special", "技术服务费"),
    ("train", "火车票"),
    ("electronic_train", "铁路电子客票"),
    ("flight", "行程单"),
    ("taxi", "出租车"),
    ("toll", "过路费"),
    ("vat_toll", "ETC通行费"),
    ("coach", "汽车票"),
    ("fixed_amount", "定额"),
    ("machine_printed", "机打"),
    ("receipt", "小票"),
    ("medical", "门诊收费"),
    ("non_tax", "财政票据"),
    ("other", "其他"),
)
_DEPARTMENTS = ("销售一部", "研发中心", "行政部", "Finance & Tax")
_PROJECTS = ("P-2024-001 智慧园区", "P-2024-017", "差旅", "")
_COLUMNS = (
    *("kind", "file", "invoice_id", "code", "number", "date", "amount", "check_code", "staff_id", "ref", "tenant"),
    *("部门", "项目", "Total"),
)
_FIRST_DAY = date(2024, 1, 3)


class TroubledBacklog(NamedTuple):
    """The backlog, open, and the manifest that it was made from."""

    backlog: Backlog
    manifest: Path


class _Maker:
    """Writes the files and the rows, and keeps what the vendor finds in each file."""

    def __init__(self, directory: Path, *, tenants: bool) -> None:
        self.rows: list[dict[str, str]] = []
        self.unanswered: list[dict[str, str]] = []
        """Rows whose answers are lost."""
        self.later: list[dict[str, str]] = []
        """Rows that are added after the run."""
        self.shown: dict[str, tuple[SampleInvoice, ...]] = {}
        self._directory = directory
        self._tenants = tenants
        self._chance = random.Random(18)
        self._count = 0

    def all_rows(self) -> None:
        """Make the rows: those of each person, then those that go wrong in their own ways."""
        for index in range(208):
            self._ordinary(index)
        for word, count in _REFUSED.items():
            for number in range(count):
                self._file(f"{word}-扫描件 {number}.pdf", ())
        for number in range(3):
            self._file(f"removed-已删除 {number}.pdf", ())
        for number in range(6):
            self._file(f"离职员工 {number}.pdf", (self._invoice("taxi"),), staff=GONE)
        self._odd_files()
        self._duplicates()
        self._checks()
        self._lookups()
        self.unanswered = self._apart(self._unanswered)
        self.later = self._apart(self._pending)

    def _apart(self, make: Callable[[], None]) -> list[dict[str, str]]:
        """Return the rows that a method makes, which are in no manifest with the others."""
        before, self.rows = self.rows, []
        make()
        made, self.rows = self.rows, before
        return made

    def _ordinary(self, index: int) -> None:
        kind, what = _KINDS[index % len(_KINDS)] if index % 3 else _KINDS[index % 5]
        usable = index % 9 != 4
        reason = "" if usable else _REASONS[index // 9 % len(_REASONS)]
        invoice = self._invoice(kind, usable=usable, message=reason)
        self._file(f"{what} {index + 1:03d}.pdf", (invoice,), kind="ocr" if index % 16 == 7 else "verify")

    def _odd_files(self) -> None:
        """Add red invoices, other currencies, files without and with many invoices or lines, and hostile names."""
        for number in range(4):
            invoice = self._invoice("digital_special")
            red = msgspec.structs.replace(invoice, total=-invoice.total, tax=-invoice.tax)
            self._file(f"红字 {number}.pdf", (red,))
        for currency in ("USD", "USD", "EUR", "HKD"):
            self._file(f"currency-{currency}-境外 {self._count}.pdf", (self._invoice("digital_normal"),))
        self._file("lines-40-办公用品清单.pdf", (self._invoice("digital_special"),))
        self._file("lines-0-无明细.pdf", (self._invoice("digital_normal"),))
        self._file("空白页.pdf", ())
        self._file("粘贴单 九张.pdf", [self._invoice("taxi", usable=number % 4 != 3) for number in range(9)])
        self._file(f"{'很长的文件名' * 13}.pdf", (self._invoice("vat_electronic"),))
        self._file("a#b %41 100%&'x'.pdf", (self._invoice("vat_electronic"),))
        self._file("=cmd 'x'!A1.pdf", (self._invoice("vat_electronic"),))
        for text in HOSTILE:
            self._file(f"hostile {self._count}.pdf", (self._invoice("vat_electronic", seller=text),), ref=text)

    def _duplicates(self) -> None:
        """Add copies of a file, scans of one invoice under several names, and a file that shares with two others."""
        for number in range(4):
            invoice = self._invoice("vat_electronic" if number % 2 else "digital_normal")
            for copy in range(2 + number % 2):
                self._file(f"重复扫描 {number}-{copy}.pdf", (invoice,), person=number + copy * (number % 2))
        first, second = self._invoice("taxi"), self._invoice("toll")
        for name, invoices in (("合并 1", (first,)), ("合并 2", (second,)), ("合并 1+2", (first, second))):
            self._file(f"{name}.pdf", invoices)
        for copy in range(3):
            self._file(f"副本 {copy}.pdf", (self._invoice("train"),), content="副本", person=copy)
        for number, shared in enumerate(SHARED):
            for copy in range(2):
                text = platform_xml(shared, labels=f"<!-- {copy} -->", seller=_SELLERS[number])
                self._file(f"数电票 {number} 副本{copy}.xml", None, content=text, person=copy)

    def _checks(self) -> None:
        for number in range(6):
            invoice = self._invoice("vat_special")
            day, amount = f"{invoice.date:%Y%m%d}", str(invoice.total - invoice.tax)
            fields = {"code": invoice.code, "number": invoice.number, "date": day, "amount": amount}
            self._row("verify_by_fields", **fields, check_code="123456", ref=f"手工录入 {number}")
        self._row("verify_by_fields", code="031001900204", number="66660001", date="20240203", amount="88.00")
        self._row("verify_by_fields", code="031001900204", number="66660002", date="20240203", amount="188.00")
        for number in range(4):
            self._row("verify_by_id", invoice_id=f"corp:03100190020{number}:7777000{number}")
        self._row("verify_by_id", invoice_id="corp::unknown88")
        today = f"{datetime.now(CHINA):%Y%m%d}"
        for number in range(2):
            self._row("verify_by_fields", number=f"2699990000000012345{number + 1}", date=today, amount="99.00")

    def _lookups(self) -> None:
        for number in range(5):
            self._row("url", invoice_id=f"corp:1:8888000{number}")
            self._row("detail", invoice_id=f"corp:1:8888000{number}")
        self._row("url", invoice_id="unknown-1")
        self._row("url", invoice_id="corp:1:bad-1")
        for number in range(2):
            self._row("ocr", file=f"https://files.example/{'provider-' * number}{number}.png", ref="网盘")
        self._row("detail", invoice_id="unknown-2")
        self._row("download", invoice_id="corp:1:88880001")

    def _unanswered(self) -> None:
        for number in range(2):
            self._file(f"无回执 {number}.pdf", (self._invoice("vat_special"),))

    def _pending(self) -> None:
        """Add rows that no run sees, some with what their file says of itself."""
        for number in range(4):
            self._file(f"待处理 {number}.pdf", (self._invoice("taxi"),))
        xml = platform_xml("25999900000000009999", net="1886.79", tax="113.21", total="2000.00", seller=_SELLERS[2])
        self._file("待处理 数电票.xml", None, content=xml)
        self._row("download", invoice_id="corp:1:88880002")

    def _file(
        self,
        name: str,
        invoices: Sequence[SampleInvoice] | None,
        *,
        kind: str = "verify",
        content: str = "",
        person: int | None = None,
        staff: str = "",
        ref: str | None = None,
    ) -> None:
        """Add a row with a file that shows these invoices; None for a file that is read here."""
        people = list(PEOPLE)
        staff = staff or people[(self._count if person is None else person) % len(people)]
        folder = PEOPLE.get(staff, "离职")
        path = self._directory / "发票" / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = content.encode() if invoices is None else b"%PDF-1.4\n" + (content or name).encode()
        path.write_bytes(data)
        if invoices is not None:
            self.shown[hashlib.sha256(data).hexdigest()] = tuple(invoices)
        ref = f"BX2024{self._count:04d}" if ref is None else ref
        self._row(kind, file=f"发票/{folder}/{name}", staff_id=staff if kind == "verify" else "", ref=ref)

    def _row(self, kind: str, **values: str) -> None:
        self._count += 1
        own = {
            "部门": _DEPARTMENTS[self._count % len(_DEPARTMENTS)],
            "项目": _PROJECTS[self._count % len(_PROJECTS)],
            "Total": f"{self._count}.5 估",
        }
        tenant = TENANTS[self._count // 20 % len(TENANTS)] if self._tenants else ""
        self.rows.append({"kind": kind, "tenant": tenant, **own, **values})

    def _invoice(self, kind: str, **values: Any) -> SampleInvoice:
        chance = self._chance
        pretax = Decimal(chance.choice((chance.randrange(900, 90_000), chance.randrange(90_000, 4_000_000)))) / 100
        tax = (pretax * Decimal(chance.choice(("0.03", "0.06", "0.09", "0.13")))).quantize(Decimal("0.01"))
        digital = kind.startswith(("digital", "electronic", "overseas"))
        return SampleInvoice(
            kind=kind,
            number=f"24{chance.randrange(10**18):018d}" if digital else f"{chance.randrange(10**8):08d}",
            code="" if digital or kind in {"train", "flight"} else f"0{chance.randrange(10**11):011d}",
            date=_FIRST_DAY + timedelta(days=chance.randrange(420)),
            total=pretax + tax,
            tax=tax,
            **{"seller": chance.choice(_SELLERS), **values},
        )


@asynccontextmanager
async def troubled_backlog(directory: Path, *, tenants: bool = False) -> AsyncIterator[TroubledBacklog]:
    """Make the backlog `b.sqlite` in a directory, with its files and manifests, and run it; with `tenants`, for three.

    Its rows are some 300: done, failed and pending.
    """
    maker = _Maker(directory, tenants=tenants)
    maker.all_rows()
    sandbox = Sandbox(
        ocr_rate=0,
        verify_rate=0,
        corporation="corp",
        recognises=maker.shown,
        staff={staff for staff in PEOPLE if staff.startswith("corp:")},
        mismatched={"66660001"},
        not_yet_known=True,
    )
    async with sandbox as box, Backlog.open(directory / "b.sqlite") as backlog:
        _prepare(box)
        manifest = _written(directory / "清单.csv", maker.rows)
        await backlog.add_manifest(_written(directory / "无回执.csv", maker.unanswered))
        box.faults.append(Fault.lost_answer(calls="verify", times=len(maker.unanswered)))
        await backlog.run(lambda _: _session(box))
        await backlog.add_manifest(manifest)
        for file in (directory / "发票").rglob("removed*"):
            file.unlink()
        await backlog.run(lambda _: _session(box), ledger_first=True)
        await backlog.add_manifest(_written(directory / "补充.csv", maker.later))
        async with _session(box) as ekb:
            for tenant in TENANTS if tenants else ("",):
                await backlog.check_buyers(ekb, tenant)
        yield TroubledBacklog(backlog, manifest)


def _prepare(box: Sandbox) -> None:
    box.vendor.add_staff(id="corp:1007", name="陈晨", email="chen@example.com")
    box.vendor.add_staff(id="corp:1008", name="周杰", code="0088")
    in_ledger = SampleInvoice(
        number=SHARED[1],
        kind="digital_normal",
        total=Decimal("1000.00"),
        tax=Decimal("56.60"),
        date=date(2025, 3, 9),
    )
    box.vendor.add_invoice(f"corp::{SHARED[1]}", in_ledger)
    answer = box.vendor.reply

    def reply(request: VendorRequest, at: float) -> VendorReply:
        body = request.body.decode(errors="replace")
        found = next((_TEXTS[word] for word in _TEXTS if f"{word}-" in body and '"fileUrl"' in body), None)
        if found is None:
            return _changed(body, answer(request, at))
        status, text = found
        spoilt = json_reply({"errorCode": status, "errorMessage": text}, status) if status != 200 else None
        return spoilt or VendorReply(200, text.encode(), {"Content-Type": "text/html"})

    box.vendor.reply = reply  # type: ignore[method-assign]


def _changed(body: str, reply: VendorReply) -> VendorReply:
    """Return the answer with another currency or other lines, as the name of the file says."""
    if reply.call != "verify" or not any(word in body for word in ("currency-", "lines-")):
        return reply
    answer = msgspec.json.decode(reply.body)
    if "currency-" in body:
        code = body.partition("currency-")[2][:3]
        for money in _amounts(answer):
            money.update(standardStrCode=code, standardNumCode="", standardSymbol=code, standardUnit="")
    for item in answer["items"]:
        if "lines-0-" in body:
            item["details"] = []
        elif "lines-40-" in body:
            first = item["details"][0]
            item["details"] = [msgspec.json.decode(msgspec.json.encode(first)) | {"id": f"L{n}"} for n in range(40)]
    return VendorReply(reply.status, msgspec.json.encode(answer), reply.headers, reply.call, reply.accepted)


def _amounts(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, list):
        for each in value:
            yield from _amounts(each)
    elif isinstance(value, dict):
        if "standardStrCode" in value:
            yield value
        for each in value.values():
            yield from _amounts(each)


def _session(box: Sandbox) -> EkbSession:
    config = SessionConfig(ocr_rate=1000.0, verify_rate=1000.0, rate_guard=0.0, max_backoff=0.01, repeat_unknown=False)
    return EkbSession(box.credentials, base_url=box.base_url, config=config)


def _written(path: Path, rows: Sequence[dict[str, str]]) -> Path:
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, _COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return path
