"""Texts in Chinese and English: one catalogue, in the form of gettext.

May import `errors` only.
Begin with `texts`, then `rendered` and `language`; CONTRIBUTING says how a text is added.
"""

from ekb_async.i18n.language import LANGUAGES, Language, language_of
from ekb_async.i18n.texts import Texts, message

__all__ = ["LANGUAGES", "Language", "Texts", "language_of", "message"]
