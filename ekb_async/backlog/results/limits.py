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

    groups_per_summary: int = 2000
    """Kinds, months or people that have lines of their own in the summary of a workbook."""

    # Buyers
    rows_per_buyers_page: int = 1000
    """Rows whose buyers are compared at a time."""

    # Memory of a report
    groups_per_tally: int = 500
    """Groups that stay separate when a tally is cut; it is cut at twice as many."""
    message_characters: int = 300
    """The length to which messages are cut before they are grouped."""

    currencies: int = 12
    """Currencies of which amounts are added; invoices of any other one are counted together."""
    text_characters: int = 1_000
    """The length to which each text of a row is cut before it is kept for a list."""
    numbers_listed: int = 10
    """Numbers of invoices that are named for one row."""
    failures_listed: int = 500
    """Failed rows that are listed one by one, the first ones."""
    unusable_listed: int = 500
    """Unusable invoices that are listed one by one, the first ones."""
    duplicates_listed: int = 200
    """Rows that repeat an invoice and are listed one by one, the first ones."""

    # Reading for a report
    rows_per_report_page: int = 500
    """Rows that are read and added at a time."""

    live_patience_seconds: float = 2.0
    """How long a live page waits for a backlog that is away; its page of before is shown meanwhile."""

    # Page of a report
    list_bytes: int = 800_000
    """The size of a list one by one, as HTML; one with very long texts is cut before its number of entries."""
    name_characters: int = 120
    """The length to which names are cut: files, people, sellers, numbers."""
    reason_characters: int = 600
    """The length to which reasons and advice are cut in a list."""
    months_listed: int = 240
    """Months that have a line of their own, the latest."""
    people_listed: int = 200
    """People that have a line of their own, those with most rows."""
    sellers_listed: int = 100
    """Sellers that have a line of their own, those with most invoices."""
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

    # Calls as they end
    first_pause_seconds: float = 0.05
    """The pause before calls are read again that ended later than a transaction in progress began; each is doubled."""
    longest_pause_seconds: float = 1.0
    """The longest of these pauses."""


LIMITS = ResultLimits()
