"""Links from a workbook to the local files of its rows."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

from ekb_async.backlog.results.tasks import Task
from ekb_async.models.files import is_url

_MOST_CHARACTERS = 2080
"""Excel allows no longer link."""
_ATTACHMENT = "attachment:"
_ESCAPED = str.maketrans({each: quote(each) for each in '%#?"<>[]^`{}|\\ ' + "".join(map(chr, range(32)))})
"""What Excel escapes in the link to a file; it leaves Chinese characters as they are."""


class Links:
    """Finds the files of tasks. A file in the folder of the workbook has a relative link, so that both can be moved."""

    def __init__(self, folder: Path) -> None:
        self._folder = os.path.join(folder.absolute(), "")  # noqa: PTH118 - with a separator at the end
        self._last: tuple[tuple[str, str], str | None] = ("", ""), None

    def target(self, task: Task) -> str | None:
        """Return the target of the link to the task's local file, None if it has none, or none that is here."""
        if not task.file:
            return None
        key = task.manifest, task.file
        if self._last[0] != key:
            self._last = key, self._found(*key)
        return self._last[1]

    def _found(self, manifest: str, file: str) -> str | None:
        if is_url(file) or file.startswith(_ATTACHMENT):
            return None
        # Thousands of paths: `Path` takes far longer.
        path = os.path.normpath(os.path.join(os.path.dirname(manifest), file))  # noqa: PTH118, PTH120
        if not os.path.isfile(path):  # noqa: PTH113
            return None
        target = self._relative(path) or Path(path).as_uri()
        return target if len(target) <= _MOST_CHARACTERS else None

    def _relative(self, path: str) -> str | None:
        if not path.startswith(self._folder):
            return None
        relative = path[len(self._folder) :].replace(os.sep, "/")
        # A colon in the first part would make it the scheme of a URL.
        return None if ":" in relative.partition("/")[0] else relative.translate(_ESCAPED)
