"""The tunables of access tokens."""

from __future__ import annotations

import msgspec


class TokenLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits and waits of access tokens and their stores."""

    # The life of a token
    token_characters: int = 4_096
    """The longest access or refresh token that is used; a longer one counts as none."""
    latest_end_milliseconds: int = 10**15
    """The latest end of a token, in epoch milliseconds, that is read as a time; later ones are no times."""
    early_window_share: float = 0.25
    """The largest share of a token's life, before its end, in which it is renewed while calls go on."""
    early_window_seconds: float = 600.0
    """The length of this window for tokens of ordinary life."""
    early_window_share_of_long: float = 1 / 32
    """The share of a long life that this window has if that is more."""
    late_window_share: float = 0.05
    """The largest share of a token's life, before its end, in which it is no longer used."""
    late_window_seconds: float = 30.0
    """The length of this window for tokens of ordinary life: a call takes no longer to reach the vendor."""
    refusal_memory_seconds: float = 30.0
    """How long refused keys are not tried again."""
    settling_seconds: float = 3.0
    """How long after its issue a 403 may mean that a token is not valid yet."""
    failed_renewal_pause_seconds: float = 5.0
    """How long after a failed renewal the next one starts, while the present token is usable."""

    # The stores
    busy_timeout_seconds: float = 5.0
    """How long to wait for processes that read the SQLite file, or write at the end of their lock."""
    first_lock_pause_seconds: float = 0.02
    """The pause before the second attempt to lock an entry."""
    lock_pause_growth: float = 1.5
    """By what factor each pause is longer than the one before."""
    longest_lock_pause_seconds: float = 0.25
    """The longest of these pauses."""
    look_seconds: float = 10.0
    """How long reading a token from PostgreSQL may take before the session fetches a token of its own."""
    look_patience_seconds: float = 1.0
    """How long it is repeated if the database is away."""
    looks_per_statement: int = 500
    """Tokens that are read in one statement."""
    fetches_at_once: int = 200
    """Tokens that a store fetches at the same time, unless the user sets it: a server has 6,400 locks by default."""
    lock_silence_seconds: float = 10.0
    """How long a process that holds locks in PostgreSQL may be silent before the database ends them."""
    heartbeat_seconds: float = 2.0
    """Pause between two statements of a process that holds locks."""
    goodbye_seconds: float = 2.0
    """How long giving back the connection of the locks may take."""


LIMITS = TokenLimits()
