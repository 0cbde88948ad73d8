"""The two languages, and which of them a person uses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from ekb_async.errors import ConfigError

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")

_BY_PRIORITY = ("LC_ALL", "LC_MESSAGES", "LANG")
"""The variables that state the language of messages: the first that is not empty counts."""


def checked_language(name: str) -> Language:
    """Return the language. Raises `ConfigError` for another name than `en` and `zh`."""
    if name not in LANGUAGES:
        raise ConfigError(f"lang must be one of {', '.join(LANGUAGES)}, not {name!r}")
    return name


def language_of(environment: Mapping[str, str], system: str = "") -> Language:
    """Return the language of `EKB_LANG`, else that of the locale, else that of the `system`, such as `Chinese_China`.

    Raises `ConfigError` if `EKB_LANG` is neither `zh` nor `en`.
    """
    if wanted := environment.get("EKB_LANG"):
        if wanted not in LANGUAGES:
            raise ConfigError(f"EKB_LANG must be one of {', '.join(LANGUAGES)}")
        return wanted
    locale = next(filter(None, map(environment.get, _BY_PRIORITY)), None) or system
    return "zh" if locale.lower().startswith(("zh", "chinese")) else "en"
