"""The tunables of this room."""

from __future__ import annotations

import msgspec


class AioLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How many requests the search for refused keys may take."""

    refused_parts_before_single_keys: int = 7
    """Refused parts of a search after which it continues with single keys, if none was answered: halving finds nothing
    if everything is refused."""
    refused_keys_before_failure: int = 64
    """Keys refused alone, one after another, after which the endpoint counts as failing."""
    sampled_keys: int = 5
    """Keys of a further refused batch that are sent alone while the endpoint counts as failing; at least 2."""


LIMITS = AioLimits()
