"""Tunables of `ekb doctor`."""

from __future__ import annotations

import msgspec


class DoctorLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of the checks."""

    clock_seconds: float = 60.0
    """How far this machine's clock may be off."""
    licence_days: int = 30
    """A licence that ends within this time is a warning."""
    timeout_seconds: float = 10.0
    """Default time of each step on the network."""
    page_bytes: int = 16 * 1024
    """Beginning of the first reply that is searched for the title of a web page."""
    narrowest_columns: int = 20
    """Texts are wrapped to no fewer columns, however narrow the terminal is."""
    shown_characters: int = 600
    """Longest text of a finding, which may quote the vendor or the environment."""


LIMITS = DoctorLimits()
