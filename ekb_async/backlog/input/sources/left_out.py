"""The files that were found and are not added."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ekb_async.backlog.input.limits import LIMITS


class LeftOut(NamedTuple):
    """A file that is not added: its name, as people know it, and why."""

    name: str
    reason: str


class FilesLeftOut:
    """The files of a source that are not added. All are counted, the first thousand can be iterated.

    `hidden` is the number of hidden files and folders among them.
    """

    def __init__(self) -> None:
        self.count = 0
        self.hidden = 0
        self._first: list[LeftOut] = []

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[LeftOut]:
        return iter(self._first)

    def add(self, name: str, reason: str) -> None:
        """Count a file. Its name is kept in one line, with U+FFFD for what cannot be shown."""
        self.count += 1
        if len(self._first) < LIMITS.left_out_kept:
            self._first.append(LeftOut(readable(name), reason))

    def add_hidden(self, name: str) -> None:
        """Count a hidden file or folder, or one that a system leaves behind."""
        self.hidden += 1
        self.add(name, "it is hidden, or a file of the system")


def readable(name: str) -> str:
    """Return a name of any bytes as text that can be shown and stored."""
    if len(name) > LIMITS.name_characters_read:
        name = f"{name[: LIMITS.name_characters_read - 1]}…"
    text = name.encode(errors="surrogateescape").decode(errors="replace")
    return "".join(each if each.isprintable() else "\ufffd" for each in text)
