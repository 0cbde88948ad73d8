"""Tasks as an Excel workbook, for people in finance.

`book` has the sheets: a summary, the invoices, their lines, what needs attention, and equal invoices. `sheet` writes
cells, `table` tables of any length, `look` says how they look. Amounts are numbers, dates are dates, and everything
else is text in cells of the format Text, so that an invoice number keeps its digits and nothing becomes a formula, even
when a cell is edited. Rows are written to disk as they arrive. Excel allows 1,048,576 rows in a sheet, so a full one is
followed by another, and 32,767 characters in a cell, so longer texts are cut.
"""

from ekb_async.backlog.results.export.workbook.book import XlsxWorkbook

__all__ = ["XlsxWorkbook"]
