"""A backlog of calls in a file: many invoices, over many runs, each paid once."""

from ekb_async.backlog.backlog import Backlog
from ekb_async.backlog.progress import KindProgress, Progress, Summary
from ekb_async.backlog.store import AddReport, Cause
from ekb_async.backlog.tasks import Task

__all__ = ["AddReport", "Backlog", "Cause", "KindProgress", "Progress", "Summary", "Task"]
