"""A report on a backlog: one HTML page that needs no network and that people in finance can read.

`collected` has the figures, added row by row; `sections` makes the parts of the page of them, which `view` describes;
`rendering` fills the templates. `charts` draws.
"""

from ekb_async.backlog.results.report.rendering import Live
from ekb_async.backlog.results.report.report import Report

__all__ = ["Live", "Report"]
