"""Limits of what the command shows, and its waits."""

from __future__ import annotations

import msgspec


class CliLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of the command."""

    shown_codes: int = 10
    """Document codes without invoices that `ekb backlog add --flows` lists."""
    shown_files: int = 20
    """Files that `ekb backlog add` names as left out."""
    shown_tenants: int = 5
    """Tenants that are shown because their calls are paused or not made any more; JSON has all."""
    announced_tenants: int = 20
    """Tenants given up that a run announces with a line each."""
    shown_causes: int = 20
    """Causes of failure that `ekb backlog status` and `run` list; the rest is one line."""
    shown_budgets: int = 10
    """Budgets that are spent and that `ekb backlog status` lists."""
    listed_characters: int = 200
    """The length to which `ekb backlog list` cuts a name or a message."""
    answer_bytes: int = 1_024
    """Bytes that are read of an answer to a question."""
    record_seconds: float = 5.0
    """Time to record the last results of an interrupted run, after the longest attempt."""
    rate_window_seconds: float = 30.0
    """Period of which the shown rate is the average: long enough to be steady, short enough to show a slow vendor."""
    left_window_seconds: float = 180.0
    """Period of which the time left is computed: longer than that of the rate, so that it does not jump."""
    min_rate_seconds: float = 1.0
    """Period below which a rate would be an accident, and none is shown."""
    seconds_between_lines: float = 5.0
    """Interval of progress lines where standard error is not a terminal."""
    least_bar_columns: int = 6
    """The narrowest progress bar; without room for it there is none."""
    announced_causes: int = 10
    """Causes of failure that `ekb backlog run` and `watch` name as they come."""
    ending_causes: int = 3
    """Causes of failure that `ekb backlog run` names at its end."""
    watch_seconds: float = 1.0
    """The shortest time between two looks of `ekb backlog watch`."""
    live_window_seconds: float = 180.0
    """Period of which the rate on a live page is the average."""
    live_look_seconds: float = 2.0
    """Least time between two looks at the counts of a backlog that is served."""
    live_page_seconds: float = 4.0
    """Least time between two collections of all figures of a page that is served."""
    live_share: float = 0.05
    """Share of the time that is spent on looking, and on collecting, at most."""
    live_share_away: float = 0.5
    """The same while the backlog is away."""
    live_watched_seconds: float = 60.0
    """How long a page is kept up to date after it was last asked for."""
    live_poll_seconds: int = 3
    """Time between two questions of a served page for its next version."""
    live_shutdown_seconds: float = 1.0
    """How long the connections of viewers may take to end."""
    demo_latency_seconds: float = 1.2
    """Duration of an OCR call of the demo: long enough to see that starts do not wait for answers."""


LIMITS = CliLimits()
