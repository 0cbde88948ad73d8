"""Times before and after something, for selections by time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ekb_async.backlog import Task


def before(task: Task) -> datetime:
    """Return a time a minute before a task ended."""
    assert task.ended_at is not None
    return task.ended_at - timedelta(minutes=1)


def after(moment: datetime | None = None) -> datetime:
    """Return a time an hour after another one, or from now."""
    return (moment or datetime.now(UTC)) + timedelta(hours=1)
