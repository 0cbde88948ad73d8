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
    cached_substitutes: int = 16_384
    """Words whose substitutes are cached."""
    substituted_characters: int = 32
    """Characters of a word that are substituted together; the rest of a longer one follows in pieces of this length."""
    json_depth: int = 64
    """Depth of nested JSON, and of JSON within texts of JSON, from which on everything is masked."""
    unescapings: int = 4
    """How often a text is unescaped to search it for secrets."""
    cached_forms: int = 2_048
    """Secrets whose forms are cached, to search a text for them."""
    known_texts: int = 2_000
    """Texts of a request that are searched in the sentences of the reply."""


LIMITS = RedactionLimits()
