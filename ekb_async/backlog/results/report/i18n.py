"""All texts of a report in both languages, and how each language writes numbers, dates and names."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from ekb_async.backlog.results.report.aggregate import NOT_STATED, Cause
from ekb_async.models import InvoiceKind
from ekb_async.models.wire.coerce import CHINA

LANGUAGES = ("zh", "en")

_TEXTS: dict[str, tuple[str, str]] = {
    # Head
    "report": ("发票任务报告", "Invoice backlog report"),
    "made": ("生成于 {time}（UTC+8）", "Made {time} (UTC+8)"),
    "calls_ended": ("调用完成于 {first} 至 {last}", "Calls ended {first} to {last}"),
    "nothing": ("任务库是空的，还没有添加任务。", "The backlog is empty: no rows have been added yet."),
    "all_done": ("所有任务均已完成。", "Every row is done."),
    "all_ended": (
        "所有任务均已处理，其中 {failed} 行失败。",
        "Every row has been worked through; {failed} failed.",
    ),
    "in_progress": (
        "共 {rows} 行任务：已完成 {done} 行，失败 {failed} 行，待处理 {open} 行。",
        "{done} of {rows} rows done, {failed} failed, {open} still to do.",
    ),
    "progress": ("任务进度", "How far it is"),
    # Headline figures
    "rows": ("任务行数", "Rows"),
    "done": ("已完成", "Done"),
    "failed": ("失败", "Failed"),
    "pending": ("待处理", "To do"),
    "running": ("其中 {count} 行进行中", "{count} of them running"),
    "waiting": ("其中 {count} 行等待次日查验，最晚至 {time}", "{count} of them wait for another day, until {time}"),
    "verified_found": ("查验发票", "Invoices verified"),
    "recognised_found": ("识别发票", "Invoices recognised"),
    "verified_total": ("查验金额（{currency}）", "Verified total ({currency})"),
    "recognised_total": ("识别金额（{currency}）", "Recognised total ({currency})"),
    "usable_of_it": ("其中可用 {amount}", "{amount} of it usable"),
    "usable_count": ("其中可用 {count} 张", "{count} of them usable"),
    "maybe_billed": ("可能重复计费的调用", "Calls maybe billed twice"),
    "maybe_billed_note": ("已发出但未收到结果", "sent, but the answer was lost"),
    # Invoices
    "verified": ("查验发票", "Verified invoices"),
    "verified_note": (
        "经“识别+验真”的发票。红字发票为负数，从合计中扣减。",
        "Invoices from OCR with verification. Red (credit) invoices are negative and reduce the totals.",
    ),
    "recognised": ("仅识别的发票", "Recognised invoices"),
    "recognised_note": (
        "只做 OCR 识别的发票。识别结果不含币种，通常为人民币。同一张发票可能也在查验发票中，两处金额请勿相加。",
        "Invoices from OCR alone, not verified. OCR names no currency; it is yuan as a rule. Do not add these to the "
        "verified ones: the same invoice may be in both.",
    ),
    "by_kind": ("按发票类型", "By invoice kind"),
    "by_month": ("按开票月份", "By month of the invoice date"),
    "chart_by_kind": ("各类型金额（{currency}）", "Amount by invoice kind ({currency})"),
    "chart_by_month": ("各月金额（{currency}）", "Amount by month ({currency})"),
    "chart_by_year": ("各年金额（{currency}）", "Amount by year ({currency})"),
    "amounts_from_to": (
        "{count} 项，从 {low} 到 {high}；数据见下表。",
        "{count} bars, from {low} to {high}; the table below has the figures.",
    ),
    "other_currencies": (
        "图中仅含 {currency}；其他币种见表。",
        "The chart has {currency} only; the table has all currencies.",
    ),
    "kind": ("发票类型", "Invoice kind"),
    "month": ("开票月份", "Month"),
    "currency": ("币种", "Currency"),
    "count": ("张数", "Invoices"),
    "amount": ("金额", "Amount"),
    "usable": ("可用", "Usable"),
    "usable_invoices": ("可用张数", "Usable"),
    "usable_amount": ("可用金额", "Usable amount"),
    "not_usable": ("不可用", "Not usable"),
    "total": ("合计", "Total"),
    "no_date": ("无日期", "No date"),
    "rest": ("其他", "All others"),
    "no_amount": ("无金额", "no amount"),
    "not_stated": ("未注明币种", "currency not stated"),
    "refused": ("不可用的原因", "Not usable, by reason"),
    "reason": ("原因（查验返回的说明）", "Reason, in the vendor's words"),
    "no_reason": ("未说明原因", "No reason given"),
    "none_refused": ("查验的发票全部可用。", "All verified invoices are usable."),
    # Failures
    "failures": ("失败原因", "Failures by cause"),
    "cause": ("原因", "Cause"),
    "failed_rows": ("行数", "Rows"),
    "what_to_do": ("怎么办", "What to do"),
    "retry": (
        "排除原因后，用 ekb backlog retry 让失败的行重新排队。",
        "Once the cause is gone, ekb backlog retry puts failed rows back in the queue.",
    ),
    "other_advice": ("按说明处理后重试。", "Do as the text says, then try again."),
    "none_failed": ("没有失败的行。", "No row has failed."),
    # Throughput
    "throughput": ("处理速度", "Throughput"),
    "calls_per": ("每{width}完成的调用数", "Calls ended per {width}"),
    "calls_from_to": (
        "从 {first} 到 {last}，最多一档 {most} 次；数据见下表。",
        "From {first} to {last}, {most} in the busiest; the table below has the figures.",
    ),
    "show_figures": ("显示数据", "Show the figures"),
    "from_time": ("起始时间", "From"),
    "no_calls": ("还没有完成的调用。", "No call has ended yet."),
    # Work
    "work": ("按任务类型", "By kind of call"),
    "call": ("任务类型", "Kind of call"),
    "shared": ("共用调用", "Share a call"),
    "sent": ("发出次数", "Times sent"),
    "maybe_billed_short": ("可能重复计费", "Maybe billed twice"),
    "ocr": ("发票识别（计费）", "OCR (billed)"),
    "verify": ("识别+验真（计费）", "OCR and verification (billed)"),
    "verify_by_id": ("发票ID验真（计费）", "Verification by ID (billed)"),
    "verify_by_fields": ("四要素验真（计费）", "Verification by fields (billed)"),
    "url": ("发票文件链接", "Invoice file URL"),
    "detail": ("发票明细", "Invoice lines"),
    "download": ("下载发票文件", "Invoice file download"),
    "accounting": ("计费调用与节省", "Billed calls, made and saved"),
    "accounting_note": (
        "节省的调用包括尚未处理的行。相同文件或同一发票ID只调用一次；同一张发票的不同文件（如 PDF、OFD、照片）"
        "也只调用一次；台账中已验真的发票不再调用。",
        "Calls saved include those of rows still to do. The same file or invoice ID is sent once, and so is an invoice "
        "of which there are several files, such as PDF, OFD and a photo. What the ledger has verified is not sent.",
    ),
    "saved_content": ("因文件相同节省", "Saved: same content"),
    "saved_invoice": ("因发票相同节省", "Saved: same invoice"),
    "saved_ledger": ("由台账直接得出", "Answered by the ledger"),
    "tenants": ("按租户", "By tenant"),
    "tenant": ("租户", "Tenant"),
    "no_tenant": ("未注明租户", "None stated"),
    # Notes
    "notes": ("统计口径", "How the figures are made"),
    "note_currency": (
        "不同币种从不相加。金额精确到分，由十进制数逐笔相加。",
        "Amounts of different currencies are never added. They are summed as exact decimals and shown to the cent.",
    ),
    "note_shared": (
        "文件或发票相同的行共用一次调用：只付一次费，其发票只计一次；多出的行列在“共用调用”下。",
        "Rows of the same file or invoice share one call: it is paid once and its invoices count once. The additional "
        "rows are under “Share a call”.",
    ),
    "note_found": (
        "发票按文件中找到的计数：同一张发票出现在多个不同的文件里，就会计多次。",
        "Invoices are counted as found on files: one that is on several different files counts several times.",
    ),
    "note_texts": (
        "长编号以“…”代替，以便合并相同的原因；行数最少的原因并入“其他”。",
        "Long numbers in messages are shown as “…” so that equal reasons are counted together; the least frequent "
        "ones are under “All others”.",
    ),
    "note_unreadable": (
        "有 {count} 行的结果无法读取，未计入发票统计；导出文件中有其原文。",
        "Answers that cannot be read, and are not among the invoices: {count}; an export has them as they came.",
    ),
}

_CAUSES: dict[str, tuple[str, str, str]] = {
    # By class of error: its name in Chinese and English, and what to do about it in Chinese
    "ConfigError": ("任务本身有误", "The row itself is wrong", "按说明检查文件是否还在、是否改动过，然后重新添加。"),
    "StorageError": (
        "文件无法读写",
        "A file could not be read or written",
        "检查目录是否存在、是否有写入权限、磁盘是否已满，然后重试。",
    ),
    "EkbTimeoutError": ("等待超时", "It took too long", "检查网络，稍后重试。"),
    "EkbConnectionError": ("网络不通", "The vendor could not be reached", "检查接口地址和网络，稍后重试。"),
    "ProxyError": ("代理不通", "The proxy could not be used", "检查代理服务器和网络，稍后重试。"),
    "ProxySettingError": ("代理设置有误", "The proxy is set up wrongly", "检查代理的地址、用户名和密码，改正后重试。"),
    "OutcomeUnknownError": (
        "结果未知，可能已计费",
        "Outcome unknown, maybe billed",
        "先到易快报核对是否已有结果，再决定是否重试。",
    ),
    "ResponseError": ("返回内容无法读取", "The answer cannot be read", "稍后重试；若仍出现，请联系供应商。"),
    "ThrottledError": ("请求过于频繁", "Too many requests", "降低速率，并确认没有其他程序在用同一接口。"),
    "RecognitionError": ("识别失败", "Not recognised", "确认文件能打开且确实是发票，再重试。"),
    "ProviderError": ("识别服务出错", "Trouble at the OCR provider", "确认文件是图片或 PDF，稍后重试。"),
    "StaffNotFoundError": ("人员不存在", "No such staff member", "核对 staff_id 是否存在并在职，格式为“企业:员工”。"),
    "InvoiceNotFoundError": ("查无此票", "No such invoice", "核对发票 ID，或代码、号码、日期和金额。"),
    "InvoiceMismatchError": (
        "与税务机关记录不一致",
        "Differs from the tax authority's record",
        "对照票面核对代码、号码、日期、金额和校验码。",
    ),
    "InvalidRequestError": ("请求被拒绝", "The request was refused", "按说明核对该行的内容。"),
    "ServerError": ("供应商服务器出错", "Trouble on the vendor's side", "稍后重试。"),
}
_ADVICE = {
    "ConfigError": "Check the file or the row as the text says, then add it again.",
    "StorageError": "Check that the folder exists, may be written and has room, then retry.",
    "ResponseError": "Try again later; if it stays, ask the vendor.",
}
"""What to do about errors that have no hint, in English."""
_OTHER_CAUSE = ("其他错误", "Another error")

_KINDS = {
    InvoiceKind.VAT_SPECIAL: "VAT special invoice",
    InvoiceKind.VAT_SPECIAL_ELECTRONIC: "VAT special e-invoice",
    InvoiceKind.VAT_NORMAL: "VAT general invoice",
    InvoiceKind.VAT_NORMAL_ELECTRONIC: "VAT general e-invoice",
    InvoiceKind.VAT_ROLL: "VAT general invoice (roll)",
    InvoiceKind.VAT_TOLL: "VAT general e-invoice (toll)",
    InvoiceKind.BLOCKCHAIN: "Blockchain e-invoice",
    InvoiceKind.MOTOR_VEHICLE_SALE: "Motor vehicle sales invoice",
    InvoiceKind.USED_VEHICLE_SALE: "Used vehicle sales invoice",
    InvoiceKind.DIGITAL_SPECIAL: "Fully digital special invoice",
    InvoiceKind.DIGITAL_NORMAL: "Fully digital general invoice",
    InvoiceKind.DIGITAL_SPECIAL_PAPER: "Fully digital special, on paper",
    InvoiceKind.DIGITAL_NORMAL_PAPER: "Fully digital general, on paper",
    InvoiceKind.DIGITAL_FLIGHT_ITINERARY: "Digital flight itinerary",
    InvoiceKind.DIGITAL_TRAIN_TICKET: "Digital train ticket",
    InvoiceKind.VAT_INVOICE: "VAT invoice, category unknown",
    InvoiceKind.TRAIN_TICKET: "Train ticket",
    InvoiceKind.TAXI_RECEIPT: "Taxi receipt",
    InvoiceKind.COACH_TICKET: "Coach ticket",
    InvoiceKind.FLIGHT_ITINERARY: "Flight itinerary",
    InvoiceKind.TOLL_RECEIPT: "Toll receipt",
    InvoiceKind.FIXED_AMOUNT: "Fixed-amount invoice",
    InvoiceKind.MACHINE_PRINTED: "Machine-printed invoice",
    InvoiceKind.SHOPPING_RECEIPT: "Till receipt",
    InvoiceKind.MEDICAL: "Medical receipt",
    InvoiceKind.NON_TAX_INCOME: "Government non-tax receipt",
    InvoiceKind.SHIP_TICKET: "Ship ticket",
    InvoiceKind.RIDE_HAILING_ITINERARY: "Ride-hailing itinerary",
    InvoiceKind.TAX_PAYMENT_CERTIFICATE: "Tax payment certificate",
    InvoiceKind.OVERSEAS: "Overseas invoice",
    InvoiceKind.OTHER: "Other receipt",
    InvoiceKind.UNKNOWN: "Unknown kind",
}
"""English names; the Chinese ones are `InvoiceKind.label`, as printed on the invoice."""

_WIDTHS = {
    60: ("分钟", "minute"),
    300: (" 5 分钟", "5 minutes"),
    900: (" 15 分钟", "15 minutes"),
    3_600: ("小时", "hour"),
    21_600: (" 6 小时", "6 hours"),
    86_400: ("天", "day"),
}
_DAYS = (" {count} 天", "{count} days")

_SCALES = (
    ((Decimal(10**8), "亿"), (Decimal(10**4), "万")),
    ((Decimal(10**9), "B"), (Decimal(10**6), "M"), (Decimal(10**3), "k")),
)


class Named(NamedTuple):
    """A name, and a smaller text below it."""

    name: str
    more: str


class Texts:
    """The texts of one language: `texts("made", time="…")`."""

    def __init__(self, lang: str) -> None:
        self.html_lang = "zh-CN" if lang == "zh" else lang
        self._index = LANGUAGES.index(lang)

    def __call__(self, key: str, **values: str) -> str:
        return _TEXTS[key][self._index].format(**values)

    def number(self, value: int | Decimal) -> str:
        """Return a count with all digits, or an amount to the cent."""
        return f"{value:,}" if isinstance(value, int) else f"{value:z,.2f}"

    def brief(self, value: Decimal) -> str:
        """Return a rounded figure for the scale of a chart, such as 1.5M or 150万."""
        for unit, letter in _SCALES[self._index]:
            if abs(value) >= unit:
                return f"{_bare(value / unit)}{letter}"
        return _bare(value)

    def time(self, moment: datetime) -> str:
        """Return date, hour and minute at UTC+8."""
        return f"{moment.astimezone(CHINA):%Y-%m-%d %H:%M}"

    def column(self, start: datetime, width: int, *, one_day: bool) -> str:
        """Return the label of a chart column that begins at `start` and covers `width` seconds."""
        if width >= 86_400:
            return f"{start:%Y-%m-%d}"
        return f"{start:%H:%M}" if one_day else f"{start:%m-%d %H:%M}"

    def width(self, seconds: int) -> str:
        """Return the time span of a chart column, such as "5 minutes"."""
        if seconds in _WIDTHS:
            return _WIDTHS[seconds][self._index]
        return _DAYS[self._index].format(count=seconds // 86_400)

    def month(self, month: str) -> str:
        """Return the month of an invoice date, or the text for no date."""
        return month or self("no_date")

    def currency(self, code: str | None) -> str:
        """Return a currency code, or the text for an amount without a currency or, if `code` is None, for no amount."""
        if code is None:
            return self("no_amount")
        return self("not_stated") if code == NOT_STATED else code

    def kind(self, kind: InvoiceKind) -> str:
        """Return the name of an invoice kind."""
        return kind.label if LANGUAGES[self._index] == "zh" else _KINDS[kind]

    def kind_with_label(self, kind: InvoiceKind) -> str | Named:
        """Return the name of an invoice kind, with the printed Chinese name below if that differs."""
        name = self.kind(kind)
        return name if name == kind.label else Named(name, kind.label)

    def cause(self, cause: Cause) -> Named:
        """Return the name of a cause, with the class and text of the error below."""
        error = f"{cause.error_type}: {cause.text}" if cause.text else cause.error_type
        return Named(_CAUSES.get(cause.error_type, _OTHER_CAUSE)[self._index], error)

    def advice(self, cause: Cause) -> str:
        """Return what to do about a cause: in English the hint of the error if it has one."""
        if LANGUAGES[self._index] == "en" or cause.error_type not in _CAUSES:
            return cause.hint or _ADVICE.get(cause.error_type, self("other_advice"))
        return _CAUSES[cause.error_type][2]


def _bare(value: Decimal) -> str:
    return f"{value:z,.2f}".rstrip("0").rstrip(".")
