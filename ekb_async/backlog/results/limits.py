"""Limits of exports and reports."""

from __future__ import annotations

import msgspec


class ResultLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of exports and reports: what they hold in memory, and what a page can show legibly."""

    # Exports
    leftover_seconds: float = 86_400.0
    """The age at which the directory of an export counts as left by a killed process; no export takes that long."""
    own_columns: int = 200
    """Columns of a table that only the user knows; .jsonl has all."""
    rows_per_parquet_group: int = 8192
    """Rows of a Parquet file that are held in memory, and written as one group."""

    # Buyers
    rows_per_buyers_page: int = 1000
    """Rows whose buyers are compared at a time."""

    # Memory of a report
    groups_per_tally: int = 500
    """Groups that stay separate when a tally is cut; it is cut at twice as many."""
    message_characters: int = 300
    """The length to which messages are cut before they are grouped."""

    # Page of a report
    throughput_columns: int = 60
    """Columns of the throughput chart; with more, each covers a longer time."""
    reasons_listed: int = 20
    """Causes of failures and reasons of refusals that have a line of their own."""
    tenants_listed: int = 200
    """Tenants that have a line of their own."""
    months_drawn: int = 36
    """The longest span of a chart by month; a longer one is drawn by year."""
    years_drawn: int = 40
    """The latest years that a chart by year shows."""


LIMITS = ResultLimits()
