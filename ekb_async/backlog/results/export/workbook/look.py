"""How the workbook looks: formats of headings, values and rows, and the print set-up."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal

from xlsxwriter import Workbook
from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

FAILED_FILL = "#FBE3E4"
UNUSABLE_FILL = "#FFF2CC"
_BAND_FILL = "#F2F2F2"

_BASE = {"font_size": 10, "valign": "vcenter"}
_FONTS = {"en": "Arial", "zh": "微软雅黑"}
_AMOUNT = "#,##0.00_ ;[Red]-#,##0.00_ "
_NUMBER_FORMATS = {
    str: "@",
    int: "0_ ",
    bool: "General",
    Decimal: _AMOUNT,
    date: "yyyy-mm-dd",
    datetime: "yyyy-mm-dd hh:mm:ss",
}
_CENTRED = {"align": "center"}
_PLACED = {bool: _CENTRED, date: _CENTRED, datetime: _CENTRED}
_UNIT_PRICE = "#,##0.00##########_ "
_HEADING = {"bold": True, "font_color": "#FFFFFF", "bg_color": "#1F4E5F", "text_wrap": True}
_TOTAL = {"bold": True, "top": 1, "bg_color": "#EAF1F3"}
_A4 = 9
_MARGIN = 0.4
"""In inches."""


class Look:
    """The formats of a workbook."""

    def __init__(self, book: Workbook, lang: str) -> None:
        self._book, self._base = book, {**_BASE, "font_name": _FONTS[lang]}
        self.heading = self._format(**_HEADING)
        self.number_heading = self._format(**_HEADING, align="right", indent=1)
        self.title = self._format(bold=True, font_size=16)
        self.section = self._format(bold=True, font_size=12, font_color="#1F4E5F")
        self.note = self._format(font_color="#595959")
        self.link = self._format(num_format="@", font_color="#0563C1", underline=1)
        self.total = self._format(**_TOTAL, num_format=_AMOUNT)
        self.total_count = self._format(**_TOTAL, num_format="#,##0_ ")
        self.count = self._format(num_format="#,##0_ ")
        self.fine = {"quantity": self._format(num_format="General"), "unit_price": self._format(num_format=_UNIT_PRICE)}
        self.values = {
            kind: self._format(num_format=form, **_PLACED.get(kind, {})) for kind, form in _NUMBER_FORMATS.items()
        }
        self.wrapped = self._format(num_format="@", text_wrap=True)
        self.failed_row = book.add_format({"bg_color": FAILED_FILL})
        self.unusable_row = book.add_format({"bg_color": UNUSABLE_FILL})
        self.band = book.add_format({"bg_color": _BAND_FILL})

    def heading_of(self, kind: type) -> Format:
        """Return the format of the heading above values of a type."""
        return self.number_heading if kind in (int, Decimal) else self.heading

    def _format(self, **properties: object) -> Format:
        return self._book.add_format({**self._base, **properties})


def style(form: Format) -> int:
    """Return the index of a format, as cells name it."""
    return int(form._get_xf_index())


def set_up_print(sheet: Worksheet) -> None:
    """Print a sheet in landscape on A4, one page wide, with its name and the number of the page."""
    sheet.set_landscape()
    sheet.set_paper(_A4)
    sheet.fit_to_pages(1, 0)
    sheet.set_margins(_MARGIN, _MARGIN, 2 * _MARGIN, 2 * _MARGIN)
    sheet.set_header("&L&A")
    sheet.set_footer("&C&P / &N")
