"""The texts of one language.

English texts are in the code, where they are used; the catalogue `zh/LC_MESSAGES/ekb.po` has the Chinese ones, and
`ekb.mo` is what is compiled of it. Three calls take texts that the catalogue must have, and a test finds every one of
them in the code: `Texts`, `Texts.word`, and `message` for a text that is made in one place and shown in another.
"""

from __future__ import annotations

import pkgutil
from functools import lru_cache
from gettext import GNUTranslations, NullTranslations
from io import BytesIO
from typing import Any

from ekb_async.i18n.language import Language, checked_language
from ekb_async.i18n.rendered import CONTEXT, Translator

_CONTEXT_END = "\x04"


class Texts:
    """Texts in a language; raises `ConfigError` if it is neither `en` nor `zh`."""

    def __init__(self, lang: str) -> None:
        self.lang: Language = checked_language(lang)
        self._translations = _translations(self.lang)

    @property
    def is_chinese(self) -> bool:
        """Whether the language is Chinese."""
        return self.lang == "zh"

    def __call__(self, text: str, plural: str | None = None, /, **values: Any) -> str:
        """Return a text with its values, as `str.format` puts them in.

        With a `plural`, the value `count` selects between both.
        """
        if plural is None:
            translated = self._translations.gettext(text)
        else:
            translated = self._translations.ngettext(text, plural, values["count"])
        return translated.format(**values)

    def word(self, context: str, text: str, /) -> str:
        """Return a short text that means different things in different contexts, such as `failed` of a state."""
        return self._translations.pgettext(context, text)

    def rendered(self, text: str) -> str:
        """Return the translation of an English text that is complete: an error, a hint or a warning of the package.

        A text that the package did not make, or not in this version, is returned as it is.
        """
        # Made on first use: it takes longer than the help of a command.
        translator = _translator(self.lang)
        return text if translator is None else translator.translate(text)


def message(text: str) -> str:
    """Return the text unchanged, and mark it for the catalogue: `Texts.rendered` translates it later."""
    return text


class _Catalogue(GNUTranslations):
    _catalog: dict[str | tuple[str, int], str]

    def messages(self) -> dict[str, str]:
        """Return the texts that are made in one place and shown in another, with their translations."""
        begin = f"{CONTEXT}{_CONTEXT_END}"
        texts = {key: value for key, value in self._catalog.items() if isinstance(key, str)}
        return {key.removeprefix(begin): value for key, value in texts.items() if key.startswith(begin)}


@lru_cache
def _translations(lang: Language) -> NullTranslations:
    if lang == "en":
        return NullTranslations()
    compiled = pkgutil.get_data("ekb_async.i18n", f"{lang}/LC_MESSAGES/ekb.mo")
    return _Catalogue(BytesIO(compiled or b""))


@lru_cache
def _translator(lang: Language) -> Translator | None:
    catalogue = _translations(lang)
    return Translator(catalogue.messages()) if isinstance(catalogue, _Catalogue) else None
