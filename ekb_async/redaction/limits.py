"""The tunables of this room."""

from __future__ import annotations

import msgspec


class RedactionLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Lengths of texts that are searched for secrets, and sizes of caches."""

    text_characters: int = 16_384
    """Characters of a text that are kept by default; masking takes time proportional to the length."""
    min_secret_characters: int = 4
    """Length of the shortest secret that is masked; shorter ones occur in ordinary text."""
    cached_secrets: int = 256
    """Secrets whose search patterns are cached."""
    log_line_characters: int = 500
    """Characters of an error in a log line."""


LIMITS = RedactionLimits()
