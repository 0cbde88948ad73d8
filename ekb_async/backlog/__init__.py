"""A backlog of calls in a file or a database: many invoices, over many runs, each paid once."""

from ekb_async.backlog.backlog import Backlog
from ekb_async.backlog.results.tasks import Task
from ekb_async.backlog.run.progress import KindProgress, Progress, Summary
from ekb_async.backlog.run.timing import BacklogTiming
from ekb_async.backlog.store.call_store import AddReport, Cause, RunAt, TenantCounts
from ekb_async.backlog.store.copying import CopyReport

__all__ = [
    "AddReport",
    "Backlog",
    "BacklogTiming",
    "Cause",
    "CopyReport",
    "KindProgress",
    "Progress",
    "RunAt",
    "Summary",
    "Task",
    "TenantCounts",
]
