"""Limits of what users add: of manifests and the columns in them."""

from __future__ import annotations

import msgspec


class InputLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a manifest is accepted, and how much of what is wrong in it is reported."""

    problems: int = 50
    """Malformed rows that are reported; reading ends with the last of them."""
    own_columns: int = 100
    own_heading_characters: int = 64
    own_value_characters: int = 32_000
    """Slightly fewer than a cell of a spreadsheet holds."""
    shown_columns: int = 10
    """Unknown columns that one message names."""
    staff_code_characters: int = 64
    readings_kept: int = 1000
    """Files whose readings are kept while files are added, since copies of a file often follow one another."""


LIMITS = InputLimits()
