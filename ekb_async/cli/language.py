"""The language of the command: `--lang`, else `EKB_LANG`, else the locale's.

`--lang` may stand anywhere on the command line, and the help is in its language too. So it is looked for before the
command line is parsed. Typer takes its own texts from the domain of gettext that `use_language` sets, so that must be
called before Typer is imported.
"""

from __future__ import annotations

import gettext
import locale
import os
from collections.abc import Sequence
from contextvars import ContextVar
from itertools import zip_longest
from pathlib import Path

from ekb_async import i18n
from ekb_async.i18n import LANGUAGES, Language, Texts, language_of

OPTION = "--lang"
_DOMAIN = "ekb"
_current: ContextVar[Texts] = ContextVar("texts")


class CurrentTexts:
    """The texts of the language of the command: calls and methods are those of `Texts`."""

    @property
    def lang(self) -> Language:
        """The language of the command."""
        return _now().lang

    def __call__(self, text: str, plural: str | None = None, /, **values: object) -> str:
        return _now()(text, plural, **values)

    def word(self, context: str, text: str, /) -> str:
        """Return a short text that means different things in different contexts."""
        return _now().word(context, text)

    def rendered(self, text: str) -> str:
        """Return the translation of an English text that is complete."""
        return _now().rendered(text)


texts = CurrentTexts()


def use_language(language: Language) -> None:
    """Let `texts`, and the texts of Typer, be those of a language."""
    _current.set(Texts(language))
    os.environ["LANGUAGE"] = language
    gettext.bindtextdomain(_DOMAIN, str(Path(i18n.__file__).parent))
    gettext.textdomain(_DOMAIN)


def wanted_language(arguments: Sequence[str]) -> Language:
    """Return the language of a command line and the environment; the last `--lang` counts.

    Raises `ConfigError` if `EKB_LANG` is wrong; a wrong `--lang` is reported when the command line is parsed.
    """
    wanted: Language | None = None
    for argument, following in zip_longest(arguments, arguments[1:]):
        if argument == "--":
            break
        name, _, value = argument.partition("=")
        if name == OPTION:
            named: list[Language] = [each for each in LANGUAGES if each == (value or following)]
            wanted = named[0] if named else wanted
    return wanted or language_of(os.environ, locale.getlocale()[0] or "")


def language_of_locale() -> Language:
    """Return the language of the locale, whatever `EKB_LANG` says."""
    without = {name: value for name, value in os.environ.items() if name != "EKB_LANG"}
    return language_of(without, locale.getlocale()[0] or "")


def _now() -> Texts:
    return _current.get(None) or Texts("en")
