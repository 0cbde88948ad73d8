"""The subcommands of `ekb backlog`."""

from __future__ import annotations

import typer

from ekb_async.cli.command_line import CommandGroup, Entry

_HERE = "ekb_async.cli.backlog"


class _Commands(CommandGroup):
    entries = (
        Entry(
            "add",
            f"{_HERE}.rows.adding:add",
            "Add invoice files, the rows of manifests, or invoices that the vendor has. Nothing is sent or billed.",
        ),
        Entry(
            "run",
            f"{_HERE}.running.command:run",
            "Make the pending calls. OCR and verification are billed.",
        ),
        Entry(
            "watch",
            f"{_HERE}.running.watching:watch",
            "Show the progress of runs that are at work on a backlog, until nothing is left to do. Nothing is changed.",
        ),
        Entry(
            "status",
            f"{_HERE}.showing.status:status",
            "Show the number of rows by state, why rows failed and what to do, and the active runs.",
        ),
        Entry(
            "health",
            f"{_HERE}.monitoring.health:health",
            "Say what is wrong, one line each; exit with 0 if nothing is, with 1 otherwise. Nothing is created or "
            "changed.",
        ),
        Entry(
            "metrics",
            f"{_HERE}.monitoring.metrics:metrics",
            "Show figures for a monitoring system: what is pending and for how long, what failed, what works on it.",
        ),
        Entry(
            "list",
            f"{_HERE}.rows.listing:list_rows",
            "List rows: number, state, kind, file, invoice, and why a row failed or needs a look.",
        ),
        Entry(
            "estimate",
            f"{_HERE}.running.estimating:estimate",
            "Show what a run would do: the calls that are billed, free or saved, and how long they take.",
        ),
        Entry(
            "budget",
            f"{_HERE}.showing.budgets:budget",
            "Limit the billed calls of a day or a month, or show the limits and what is spent of them.",
        ),
        Entry(
            "remove",
            f"{_HERE}.rows.removing:remove",
            "Remove rows, after asking. Several options select the rows for which all of them are true.",
        ),
        Entry(
            "purge",
            f"{_HERE}.rows.purging:purge",
            "Delete calls that were done long ago, with their rows and results, after asking. Export them first.",
        ),
        Entry(
            "retry",
            f"{_HERE}.rows.retrying:retry",
            "Make failed rows pending again, after saying what is billed again. Several options select the rows for "
            "which all of them are true.",
        ),
        Entry(
            "pause",
            f"{_HERE}.rows.pausing:pause",
            "Hold pending calls until `resume`, at once, also while runs and workers are at work. Several options "
            "select the calls for which all of them are true.",
        ),
        Entry(
            "resume",
            f"{_HERE}.rows.pausing:resume",
            "End the pauses of what is selected. Runs and workers that are at work go on with it within seconds.",
        ),
        Entry(
            "cancel",
            f"{_HERE}.rows.pausing:cancel",
            "Let pending rows fail, after asking, also those that are held or wait. They cost nothing.",
        ),
        Entry(
            "free",
            f"{_HERE}.rows.retrying:free",
            "Make running rows pending again. Use it only if you know that no run is active.",
        ),
        Entry("export", f"{_HERE}.results.exporting:export", "Write rows with their results to a file."),
        Entry(
            "follow",
            f"{_HERE}.results.following:follow",
            "Write calls as they end, done or failed, as JSON Lines, until interrupted.",
        ),
        Entry(
            "report",
            f"{_HERE}.results.reporting:report",
            "Write an HTML page for people: money, what needs attention and why, totals by kind, month, person and "
            "seller.",
        ),
        Entry(
            "serve",
            f"{_HERE}.results.serving:serve",
            "Show the page of `report` in a browser on this machine, kept up to date while a run is at work, until "
            "Ctrl-C.",
        ),
        Entry("copy", f"{_HERE}.rows.copying:copy", "Copy a backlog with its results into another one."),
    )


app = typer.Typer(
    help="Process many invoices over many runs. A row is paid for once, unless the answer of a call was lost.",
    no_args_is_help=True,
    cls=_Commands,
)
