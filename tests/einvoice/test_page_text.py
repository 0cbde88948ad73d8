"""The text of a page: labels apart from values, wrapped remarks, odd characters."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from ekb_async import InvoiceKind
from ekb_async.einvoice.identity import keys
from ekb_async.einvoice.model import Evidence
from ekb_async.einvoice.page_text import read_page
from tests.support.invoice_files import CODE, NUMBER, OLD_NUMBER, OTHER

LABELS = (
    "电子发票（普通发票）\n发票号码：\n开票日期：\n购买方信息\n名称：\n统一社会信用代码/纳税人识别号：\n"
    "合计\n（小写）\n"
)
VALUES = (
    f"{NUMBER}\n2025年03月09日\n虚构甲方测试有限公司\n91990000MA0000001X\n虚构乙方示例服务有限公司\n91990000MA0000002Y\n"
    "¥943.40 ¥56.60\n壹仟圆整\n¥1000.00\n"
)


def only(text: str) -> Evidence:
    """Return the one thing that a page states."""
    (found,) = read_page(text)
    return found


def test_labels_first_then_values() -> None:
    """The only 20 digits are the number, the three amounts of which two make the third are the amounts."""
    found = only(LABELS + VALUES)
    assert (keys(found), found.date, found.kind) == ([NUMBER], date(2025, 3, 9), InvoiceKind.DIGITAL_NORMAL)
    amounts = (found.amount_excluding_tax, found.tax, found.total)
    assert amounts == (Decimal("943.40"), Decimal("56.60"), Decimal("1000.00"))
    assert (found.buyer, found.seller) == ("虚构甲方测试有限公司", "虚构乙方示例服务有限公司")


@pytest.mark.parametrize(
    "extra", [f"{OTHER}\n", f"蓝字\n被红冲蓝字数电发票号码：\n{OTHER}\n{NUMBER[:-1]}9\n", "校验码：\n"]
)
def test_an_unlabelled_number_among_others_is_not_guessed(extra: str) -> None:
    """Two runs of 20 digits, a label of a blue invoice, or the layout of an old invoice leave no number."""
    assert keys(only(LABELS + VALUES + extra)) == []


@pytest.mark.parametrize("number", ["19999900000000000017", "89999900000000000017"])
def test_an_unlabelled_number_begins_with_a_year(number: str) -> None:
    """20 digits that begin with no year of digital invoices may be an account."""
    assert keys(only(LABELS + VALUES.replace(NUMBER, number))) == []
    assert keys(only(f"发票号码：{number}\n")) == [number]


@pytest.mark.parametrize(
    "remark",
    [
        f"被红冲蓝字数电发票号码：{OTHER} 红字发票信息确认单编号：99999925030000000011",
        f"被红冲蓝字数电票号码：{OTHER}红字发票信息确认单编号：99999925030000000011",
        f"被红冲\n蓝字数电发\n票号码：{OTHER[:7]}\n{OTHER[7:]}\n红字发票信息确\n认单编号：999999250300\n00000011",
        f"被红冲蓝字数电发票号码:\n{OTHER}\n",
        f"冲减蓝字发票号码为{OTHER}",
    ],
)
def test_the_blue_number_is_not_the_invoices(remark: str) -> None:
    """The remark of a red-letter invoice is taken out first, wherever its lines break."""
    for text in (f"发票号码：{NUMBER}\n备注 {remark}\n", f"备注 {remark}\n发票号码：{NUMBER}\n"):
        found = only(text)
        assert (keys(found), found.red_letter_of) == ([NUMBER], OTHER)


@pytest.mark.parametrize(
    "words", ["冲红发票号码", "原发票号码", "红冲数电发票号码", "关联发票号码", "对应数电发票号码"]
)
def test_the_number_of_another_invoice_is_not_the_invoices(words: str) -> None:
    """Nor where the invoice's own number stands apart from its label."""
    for text in (f"发票号码：{NUMBER}\n", LABELS + VALUES):
        assert keys(only(f"{text}备注 {words}：{OTHER}\n")) in ([NUMBER], [])
    assert keys(only(f"发票号码：{NUMBER}\n备注 {words}：{OTHER}\n")) == [NUMBER]


def test_an_old_red_letter_invoice() -> None:
    """`对应正数发票代码:… 号码:…` names the blue invoice."""
    text = f"备注 对应正数发票代码:099002400111 号码:00000099\n发票代码:{CODE}\n发票号码:{OLD_NUMBER}\n"
    found = only(text)
    assert (keys(found), found.red_letter_of) == ([f"{CODE}-{OLD_NUMBER}"], "099002400111-00000099")


def test_old_layout_without_labels() -> None:
    """Code, number and year in consecutive lines; the machine's number has 12 digits too."""
    text = f"发票代码:\n发票号码:\n机器编号:\n999000000001\n{CODE}\n{OLD_NUMBER}\n2024 05 06\n"
    text += "01234 56789 01234 56789\n¥106.20\n¥6.37\n¥112.57\n"
    found = only(text)
    assert (keys(found), found.date) == ([f"{CODE}-{OLD_NUMBER}"], date(2024, 5, 6))
    assert (found.check_code, found.total) == ("01234567890123456789", Decimal("112.57"))


def test_the_machines_number_is_no_code() -> None:
    """A number below the label 发票代码, in another line, may be any."""
    assert keys(only(f"发票代码:\n999000000001\n发票号码:{OLD_NUMBER}\n")) == []


def test_radicals_and_full_width_characters() -> None:
    """Kangxi and CJK radicals, full-width digits and signs, NUL and returns are undone."""
    wide = NUMBER.translate({ord(each): ord(each) + 0xFEE0 for each in "0123456789"})
    text = f"发票号码：{wide}\r\n开票⽇期：2025年03⽉09⽇\0\r\n￥９４３.４０ ￥56.60 ￥1000.00\n"
    text += "名称：虚构⻔窗⻓安⻝品⻆公司 名称：虚构⻛⻚⻋⻢公司\n91990000MA0000001X 91990000MA0000002Y\n"
    found = only(text)
    assert (keys(found), found.date, found.total) == ([NUMBER], date(2025, 3, 9), Decimal("1000.00"))
    assert (found.buyer, found.seller) == ("虚构门窗长安食品角公司", "虚构风页车马公司")


def test_an_exempt_invoice() -> None:
    """With `*` for the tax, the total is the amount."""
    found = only(f"发票号码：{NUMBER}\n¥100.00 *\n¥100.00\n")
    assert (found.amount_excluding_tax, found.tax, found.total) == (Decimal(100), None, Decimal(100))


@pytest.mark.parametrize("money", ["¥1.00 ¥2.00 ¥4.00", "¥1.00 ¥2.00 ¥3.00 ¥5.00", "¥100.00", "¥1.00 ¥1.00"])
def test_amounts_that_do_not_add_up_are_left_out(money: str) -> None:
    """Without exactly one sum of a larger amount and a smaller tax, there are no amounts."""
    assert only(f"发票号码：{NUMBER}\n{money}\n").total is None


def test_negative_amounts() -> None:
    """The sign stands before or behind ¥."""
    for money in ("¥-943.40 ¥-56.60 ¥-1000.00", "-¥943.40 -¥56.60 -¥1,000.00"):
        assert only(f"发票号码：{NUMBER}\n{money}\n").total == Decimal(-1000)


def test_parties_are_left_out_unless_there_are_two_tax_ids() -> None:
    """With one taxpayer's number, or three, neither buyer nor seller is guessed."""
    for text in (VALUES.replace("91990000MA0000001X\n", ""), VALUES + "91990000MA0000003W\n"):
        found = only(LABELS + text)
        assert (found.buyer, found.seller, found.seller_tax_id) == (None, None, None)


def test_several_numbers_on_a_page() -> None:
    """Two labelled numbers are two invoices, and it is unknown whose the amounts are."""
    found = read_page(f"发票号码：{NUMBER}\n发票号码：{OTHER}\n¥943.40 ¥56.60 ¥1000.00\n")
    assert [(keys(each), each.total) for each in found] == [([NUMBER], None), ([OTHER], None)]


def test_a_digital_invoice_on_paper_has_two_identities() -> None:
    """Code and number, and 数电票号码 of 20 digits."""
    found = only(f"发票代码:{CODE}\n发票号码:{OLD_NUMBER}\n数电票号码：{NUMBER}\n")
    assert keys(found) == [NUMBER, f"{CODE}-{OLD_NUMBER}"]


@pytest.mark.parametrize(
    "text", ["", "发票\x01\x02\x03", "Invoice 25999900000000000017", "2 5 " * 20_000, "发票号码：" * 9_000]
)
def test_other_texts_name_no_invoice(text: str) -> None:
    """A text layer without digits, in another language, or of repetitions gives no number."""
    assert not any(keys(each) for each in read_page(text))
