"""A backlog of calls in a file or a database: many invoices over many runs, none paid for twice without need.

May import `session` and everything below it. Start with `backlog`, then its rooms: `input`, `store`, `run`, `results`,
`purging`, `metrics`.
"""

from typing import TYPE_CHECKING

from ekb_async.backlog.backlog import Backlog
from ekb_async.backlog.input.given import Row
from ekb_async.backlog.input.sources.left_out import LeftOut
from ekb_async.backlog.metrics.figures import BacklogMetrics
from ekb_async.backlog.metrics.health import BacklogHealth, HealthProblem
from ekb_async.backlog.metrics.tenants import OtherTenants, TenantMetrics
from ekb_async.backlog.results.completions import Completion
from ekb_async.backlog.results.estimate import Estimate
from ekb_async.backlog.results.tasks import Task
from ekb_async.backlog.run.shown.progress import KindProgress, Progress, Summary
from ekb_async.backlog.run.shown.tally import Verified
from ekb_async.backlog.run.shown.tenants import AutoPause, GivenUp, TenantState
from ekb_async.backlog.run.shown.waits import Wait
from ekb_async.backlog.run.timing import BacklogTiming
from ekb_async.backlog.store.changes.budgets import Budget
from ekb_async.backlog.store.transactions.accounting import Accounting, KindAccounting
from ekb_async.backlog.store.transactions.purged import Purged, PurgedInvoices
from ekb_async.backlog.store.values.reports import (
    ActiveRun,
    AddReport,
    CancelReport,
    Cause,
    CopyReport,
    Pause,
    PauseReport,
    PurgeReport,
    RemoveReport,
    ResumeReport,
    RetryReport,
    TenantCounts,
    Waiting,
)
from ekb_async.validation import warn_renamed

__all__ = [
    "Accounting",
    "ActiveRun",
    "AddReport",
    "AutoPause",
    "Backlog",
    "BacklogHealth",
    "BacklogMetrics",
    "BacklogTiming",
    "Budget",
    "CancelReport",
    "Cause",
    "Completion",
    "CopyReport",
    "Estimate",
    "GivenUp",
    "HealthProblem",
    "KindAccounting",
    "KindProgress",
    "LeftOut",
    "OtherTenants",
    "Pause",
    "PauseReport",
    "Progress",
    "PurgeReport",
    "Purged",
    "PurgedInvoices",
    "RemoveReport",
    "ResumeReport",
    "RetryReport",
    "Row",
    "Summary",
    "Task",
    "TenantCounts",
    "TenantMetrics",
    "TenantState",
    "Verified",
    "Wait",
    "Waiting",
]

if TYPE_CHECKING:
    RunAt = ActiveRun
else:  # a type checker would accept any name if it saw `__getattr__`

    def __getattr__(name: str) -> object:
        """Return the class of a deprecated name."""
        if name == "RunAt":
            warn_renamed("RunAt", "ActiveRun")
            return ActiveRun
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
