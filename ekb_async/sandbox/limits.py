"""The tunables of the sandbox."""

from __future__ import annotations

import msgspec


class SandboxLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes and times of the sandbox that are not rules of the vendor."""

    # The server
    queued_connections: int = 1024
    """Connections that wait to be accepted; enough for a test that opens hundreds at once."""
    read_chunk_bytes: int = 64 * 1024
    """Bytes of a request's body that are read at a time."""
    logged_body_characters: int = 1024 * 1024
    """Characters of a request's body in the log, so that a large request does not stay in memory as a whole."""
    shutdown_seconds: float = 0.5
    """How long closing waits for handlers of aborted connections."""

    # The replay
    replayed_file_bytes: int = 30 * 1024 * 1024
    """Bytes of a replayed file at most; its recorded size may be any number."""

    # Virtual time
    network_delay_seconds: float = 0.02
    """Virtual time that a request takes to arrive."""
    quick_answer_seconds: float = 0.05
    """Virtual time until an answer to a call without `latency`."""
    loop_iteration_seconds: float = 1e-6
    """Virtual time that each iteration of the loop takes; above 0, so that a rounding error does not stop time."""


LIMITS = SandboxLimits()
