"""A report on a backlog: one HTML page that needs no network and that people in finance can read.

`aggregate` collects the figures task by task, `page` lays them out with the help of `html`, `charts` draws, and `i18n`
has all texts in both languages.
"""

from ekb_async.backlog.results.report.page import Report

__all__ = ["Report"]
