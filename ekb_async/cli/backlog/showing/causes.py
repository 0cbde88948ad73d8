"""Causes of failure as they come: a line for the first row, then one for each tenfold number, but no flood."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ekb_async.backlog import Cause
from ekb_async.backlog.results.names import Names
from ekb_async.cli.language import texts
from ekb_async.cli.limits import LIMITS


class CauseLines:
    """Writes lines about causes with `say`; `place` stands for the backlog in suggested commands."""

    def __init__(self, say: Callable[[str], None], place: object) -> None:
        self._say = say
        self._place = place
        self._announced: dict[tuple[str, str], int] = {}
        self._has_more = False

    def update(self, causes: Iterable[Cause], *, silently: bool = False) -> None:
        """Write what is new, or only remember it."""
        for cause in causes:
            key = cause.error_type, cause.error
            before = self._announced.get(key, 0)
            if not before and len(self._announced) >= LIMITS.announced_causes:
                if not self._has_more:
                    self._has_more = True
                    self._say(texts("Rows fail for more reasons; see: ekb backlog status {place}", place=self._place))
                continue
            if before and cause.rows < 10 * before:
                continue
            self._announced[key] = 10 ** (len(str(cause.rows)) - 1)
            if not silently:
                self._say(
                    texts(
                        "{count:,} row failed: {cause}", "{count:,} rows failed: {cause}",
                        count=cause.rows, cause=cause_text(cause),
                    )
                )  # fmt: skip
                if not before:
                    self._say(f"    {Names(texts.lang).advice(cause.error_type, cause.hint)}")


def cause_text(cause: Cause) -> str:
    """Return the class of the errors and their text."""
    names = Names(texts.lang)
    name, error = names.cause(cause.error_type), names.explanation(cause.error)
    if error in {"", name}:
        return texts("{cause} ({error_type})", cause=name, error_type=cause.error_type)
    return texts("{cause} ({error_type}): {text}", cause=name, error_type=cause.error_type, text=error)
