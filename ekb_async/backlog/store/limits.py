"""The tunables of the stores of backlogs."""

from __future__ import annotations

import msgspec


class StoreLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of files, databases and copies; the times that programs wait for one another are in `StorageTiming`."""

    claims_ahead_in_file: int = 200
    """Paid calls that a run claims ahead from a file; enough that claiming takes no noticeable time."""
    claims_ahead_in_database: int = 20
    """Paid calls that a run claims ahead from a database; few, because no other host can make them meanwhile."""
    records_per_copied_page: int = 500
    """Manifests, calls or rows that a copy reads at a time, which bounds its memory."""
    answers_per_indexed_page: int = 500
    """Answers whose invoices are indexed in one transaction."""
    rows_per_removed_page: int = 2000
    """Rows that are removed in one transaction."""
    calls_per_purged_page: int = 500
    """Calls that are purged in one transaction, in a few hundredths of a second."""
    entries_per_purged_page: int = 5_000
    """Entries of an engine's log, and other small rows, that are purged in one statement."""
    purge_pause_in_file: float = 1.0
    """How long others have their turn between two such transactions, as a multiple of the time of one."""
    purge_pause_in_database: float = 0.1
    """The same in a database, where nothing waits for them."""
    changes_before_sums: int = 500
    """Changes of the numbers of calls that a database has before a run sums them up."""
    seconds_between_sums: float = 60.0
    """How often a run looks whether there are so many."""
    calls_gathered: int = 100_000
    """Calls whose rows are looked up by an index; if more are selected, rows are read in their order instead."""
    calls_gathered_at_once: int = 1_000
    """As few calls as this are looked up without a search for a narrower selection."""
    completions_per_page: int = 200
    """Calls that have ended that are read at a time, which bounds the memory of what follows them."""
    completions_scanned: int = 2_000
    """Calls that have ended of all tenants that are looked through at a time."""
    completions_repeated_seconds: float = 60.0
    """How much earlier than its own time a cursor goes on in a backlog that lacks the call it stands for."""
    calls_per_held_page: int = 5_000
    """Calls that are held, released or cancelled in one transaction."""
    polls_of_others: int = 600
    """How often resuming looks whether transactions in progress have ended that may hold calls."""
    poll_of_others_seconds: float = 0.1
    """Between two of these looks."""
    compacting_wait_seconds: float = 0.5
    """How long compacting a file waits for the lock of another program."""
    rows_per_insert: int = 500
    """Rows of a manifest per statement of SQLite, since executing a statement costs as much as a few rows."""
    longest_wait_seconds: float = 2 * 86_400.0
    """How far away a due time may be; the next day ends before that, so a wrong clock has set a later one."""
    spent_days: int = 62
    """For how many days billed calls are counted by day: at least a month with a budget, and what is shown."""
    steps_between_cancel_checks: int = 100_000
    """Steps of SQLite's virtual machine, millions of which take a second, between checks for a cancelled import."""
    page_cache_kib: int = 32_000
    """The page cache of a writing connection, in KiB."""
    settling_seconds: float = 0.3
    """How long another program may take to move a file and its log, or pause while it writes the file."""
    max_reads_of_changing_file: int = 100
    """Attempts to read a file without a lock before it counts as changing all the time."""
    max_rescued_bytes: int = 32_000_000
    """Answers held in memory, in case the file is lost; another reader may keep them out of the file for long."""


LIMITS = StoreLimits()
