"""Numbers of things in sentences."""

from __future__ import annotations

_PLURALS = {"is": "are", "waits": "wait"}


def counted(number: int, words: str) -> str:
    """Return `1 row is` or `1,200 rows are` for words in the singular, such as `row is`."""
    if number == 1:
        return f"1 {words}"
    noun, _, rest = words.partition(" ")
    others = " ".join(_PLURALS.get(word, word) for word in rest.split())
    return f"{number:,} {noun}s {others}".rstrip()
