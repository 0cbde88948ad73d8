"""What is wrong in a manifest, collected until it has been read or there is too much of it."""

from __future__ import annotations

from pathlib import Path

from ekb_async.backlog.input.limits import LIMITS
from ekb_async.errors import ManifestError, ManifestProblem


class Problems:
    """The problems of one manifest, in the order of its rows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._found: list[ManifestProblem] = []

    @property
    def is_full(self) -> bool:
        """Whether there are as many as are reported."""
        return len(self._found) >= LIMITS.problems

    def add(self, reason: str, *, line: int | None = None, column: str | None = None) -> None:
        self._found.append(ManifestProblem(str(self.path), line, column, reason))

    def add_all(self, error: ManifestError) -> None:
        self._found += error.problems

    def check(self) -> None:
        """Raise `ManifestError` with all problems if there are any."""
        if not self._found:
            return
        lines = [str(problem) for problem in self._found]
        if self.is_full:
            lines.append(f"Only the first {LIMITS.problems} are listed.")
        error = ManifestError("\n".join(lines))
        error.problems = tuple(self._found)
        raise error
