"""Limits of metrics and health."""

from __future__ import annotations

import msgspec


class MetricsLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How many series metrics have, how much reading them may cost, and what a line on health names."""

    top: int = 10
    """Tenants that have series of their own, unless another number is given."""
    most_top: int = 1_000
    """The largest such number."""
    error_types: int = 30
    """Classes of errors that have a series of their own; the package has fewer."""
    reading_share: float = 0.05
    """The share of the time that reading takes at most; the interval is longer if need be."""
    named: int = 5
    """Tenants that one line on health names."""


LIMITS = MetricsLimits()
