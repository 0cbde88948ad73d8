"""Times in the past, as options of commands name them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from ekb_async.cli.language import texts
from ekb_async.errors import ConfigError

_AGO = re.compile(r"(\d{1,6})\s*([smhdw])", re.IGNORECASE)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def past_moment(option: str, text: str, now: datetime | None = None) -> datetime:
    """Return the moment of a local date or time in ISO 8601, or of a time ago: `30m`, `12h`, `2d`, `1w`.

    Raises `ConfigError` naming the option for another text. `now` has a time zone, by default the local one.
    """
    now = now or datetime.now().astimezone()
    try:
        if (ago := _AGO.fullmatch(text.strip())) is not None:
            return now - timedelta(**{_UNITS[ago[2].lower()]: int(ago[1])})
        at = datetime.fromisoformat(text.strip())
        return at if at.utcoffset() is not None else at.astimezone()
    except (ValueError, OverflowError):
        raise ConfigError(
            texts("{option} takes a time such as 30m, 2d, 2026-11-28 or 2026-11-28T18:00", option=option)
        ) from None
