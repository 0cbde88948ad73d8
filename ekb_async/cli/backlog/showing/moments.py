"""Moments at which rows go on, in words."""

from __future__ import annotations

from ekb_async.backlog import Waiting
from ekb_async.cli.language import texts


def until_text(waiting: Waiting) -> str:
    """Return when rows that wait go on, or between which moments; "" if none wait."""
    if waiting.first is None or waiting.last is None:
        return ""
    first, last = (f"{moment:%Y-%m-%d %H:%M}" for moment in (waiting.first, waiting.last))
    return first if first == last else texts("{first} to {last}", first=first, last=last)
