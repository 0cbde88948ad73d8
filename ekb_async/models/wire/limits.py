"""Limits of what is decoded from a reply."""

from __future__ import annotations

import msgspec


class ModelLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of decoding, as opposed to facts of the vendor's format."""

    max_list_entries: int = 20_000
    """Longest list that is decoded. All lines of a request for many invoices are fewer, since they fit into 64 MB."""
    ascii_step_bytes: int = 200
    """Bytes that are checked at once while the first byte that is not ASCII is searched for."""
    encoding_sample_bytes: int = 300
    """Bytes from there on that decide whether a reply is UTF-8, so that a long one is not decoded twice."""
    number_digits: int = 20
    """Most digits of a number before the point, and after it; one with more is not an amount of anything."""
    value_characters: int = 80
    """Most characters of a number or a date. A longer text is neither, and no pattern is matched against it."""
    cached_rates: int = 256
    """Spellings of tax rates whose values are cached, since the same few are on nearly every line."""
    cached_days: int = 1_024
    """Spellings of dates whose values are cached, since the invoices of a year are of a few hundred days."""
    sum_digits: int = 60
    """Precision of computations with amounts; more than any sum of amounts needs."""


LIMITS = ModelLimits()
