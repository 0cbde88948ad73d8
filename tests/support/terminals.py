"""Reading what a process writes to a pseudo-terminal."""

from __future__ import annotations

import os


def all_of(screen: int) -> str:
    """Return the text written to a pseudo-terminal until its other end is closed."""
    shown = b""
    try:
        while more := os.read(screen, 1 << 12):
            shown += more
    except OSError:  # on Linux: the other end is closed
        pass
    finally:
        os.close(screen)
    return shown.decode()


def until_shown(screen: int, text: str) -> str:
    """Return what is written to a pseudo-terminal until it contains a text. Raise `EOFError` if that never comes."""
    shown = b""
    while text.encode() not in shown:
        try:
            more = os.read(screen, 1 << 12)
        except OSError:
            more = b""
        if not more:
            raise EOFError(shown.decode(errors="replace"))
        shown += more
    return shown.decode(errors="replace")
