"""The subcommands of `ekb backlog`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn, ParamSpec

import typer

from ekb_async.cli.backlog.monitoring.health import health
from ekb_async.cli.backlog.monitoring.metrics import metrics
from ekb_async.cli.backlog.results.exporting import export
from ekb_async.cli.backlog.results.following import follow
from ekb_async.cli.backlog.results.reporting import report
from ekb_async.cli.backlog.results.serving import serve
from ekb_async.cli.backlog.rows.adding import add
from ekb_async.cli.backlog.rows.copying import copy
from ekb_async.cli.backlog.rows.listing import list_rows
from ekb_async.cli.backlog.rows.pausing import cancel, pause, resume
from ekb_async.cli.backlog.rows.purging import purge
from ekb_async.cli.backlog.rows.removing import remove
from ekb_async.cli.backlog.rows.retrying import free, retry
from ekb_async.cli.backlog.running.command import run
from ekb_async.cli.backlog.running.estimating import estimate
from ekb_async.cli.backlog.running.watching import watch
from ekb_async.cli.backlog.showing.budgets import budget
from ekb_async.cli.backlog.showing.status import status
from ekb_async.cli.command_line import Command, CommandGroup
from ekb_async.cli.runner import ExitStatus, finish

P = ParamSpec("P")

app = typer.Typer(
    help="Process many invoices over many runs. A row is paid for once, unless the answer of a call was lost.",
    no_args_is_help=True,
    cls=CommandGroup,
)


def _command(work: Callable[P, Coroutine[Any, Any, ExitStatus]], name: str | None = None) -> None:
    """Make a command of a coroutine function: the command runs it and exits with its status."""

    @app.command(name, cls=Command)
    @functools.wraps(work)
    def command(*args: P.args, **kwargs: P.kwargs) -> NoReturn:
        finish(work(*args, **kwargs))


_command(add)
app.command(cls=Command)(run)
_command(watch)
_command(status)
_command(health)
_command(metrics)
_command(list_rows, "list")
_command(estimate)
_command(budget)
_command(remove)
_command(purge)
_command(retry)
_command(pause)
_command(resume)
_command(cancel)
_command(free)
_command(export)
_command(follow)
_command(report)
_command(serve)
_command(copy)
