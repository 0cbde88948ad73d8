"""Mask texts: names and values of fields, sentences, URLs and paths.

A value is kept if its field and its form are harmless (see `harmless`), otherwise every word of it is replaced. In a
sentence of the vendor the words of its error texts are kept, and all others are replaced. A URL keeps the names and
times in its query; its host becomes `PLACEHOLDER`, unless it is one of the vendor's public platforms.
"""

from __future__ import annotations

import functools
import re
from urllib.parse import quote, unquote, urlsplit

from ekb_async.redaction import url_names
from ekb_async.redaction.limits import LIMITS
from ekb_async.redaction.masking import MASK
from ekb_async.redaction.personal import harmless
from ekb_async.redaction.personal.escapes import revealed
from ekb_async.redaction.personal.pseudonyms import Pseudonyms
from ekb_async.redaction.quoting import quoted_forms

PLACEHOLDER = "https://replay.invalid"
"""Stands for the platform that was called and for all file hosts."""

_WORDS_IN_NAME = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_NAME = re.compile(r"[A-Za-z]+(?:[_.-][A-Za-z]+)*")
_VERSION = re.compile(r"v\d(?:\.\d)?")
_URL = re.compile(r"""(?<![A-Za-z0-9])https?://[^\s"'<>\\\[\]{}，。；、）】]+""", re.IGNORECASE)
_DIGITS = r"(?<![0-9A-Za-z])(?!(?:h[1-6]|utf8)(?![0-9A-Za-z]))(?=[A-Za-z]*+\d)[0-9A-Za-z]++"
_OPAQUE = re.compile(
    rf"(?P<url>{_URL.pattern})"
    # What follows the name of a secret, unless it is a word such as "expired".
    r"|(?P<secret>(?:passw(?:or)?d|pwd|secret|token|credential|signature|cookie|access_?key|app_?key|密码|口令|密钥|令牌"
    r"|验证码)['\"]?(?:\s{0,3}=|(?:\s|[:：]|\b(?:is|was)\b|[为是]){1,9}(?=[!-~]{0,99}\d)))\s{0,3}['\"]?[!-~]++"
    r"(?:[ -]{1,3}\d[!-~]*+)*+"
    # Addresses of mail, and users with their passwords before a host.
    r"|(?<![!#-&*-;=?-Z\\^-z|~])(?P<address>[!#-&*-;=?A-Z\\^-z|~]*+@[!#-&*-;=?-Z\\^-z|~]*+)"
    rf"|(?P<digits>{_DIGITS}(?:(?u:[\W_])(?u:[\W_]){{0,8}}+{_DIGITS})++)",
    re.IGNORECASE | re.ASCII,
)
"""What is replaced as a whole: numbers that do not stand alone may be the parts of one, or the codes of letters."""
_IN_SENTENCE = re.compile(
    r"(?P<system>(?<![A-Za-z])(?:E_)?system_[A-Za-z_一-鿿]{1,60})"
    r"|(?P<chinese>[一-龥]+)|(?P<ascii>[0-9A-Za-z]+)|(?P<other>[^\s0-9A-Za-z一-龥]+)",
    re.IGNORECASE | re.ASCII,
)
_PART = re.compile("[0-9A-Za-z]+")
_LONGEST_GIVEN_NAME = 2
_SHORT = re.compile(r"\d{1,3}[A-Za-z]{0,2}|h[1-6]|utf8", re.ASCII | re.IGNORECASE)
_LONGEST_PART = 5
"""Characters of parts of a number that are replaced together, as they may be the codes of letters."""
_EXPIRY = re.compile(r"\d{10}(?:\d{3})?", re.ASCII)
_URL_WORDS = harmless.FIELD_WORDS | {"amz", "e", "x", "st", "sig", "algorithm", "signed", "headers", "credential", "q"}


class Known:
    """The texts of a request with their substitutes, to replace them as a whole where the reply quotes them."""

    def __init__(self) -> None:
        self._forms: dict[str, str] = {}

    def add(self, text: str, substitute: str) -> None:
        """Add a text and the forms in which it may be quoted."""
        if text == substitute or len(self._forms) >= LIMITS.known_texts:
            return
        for form, masked in zip(quoted_forms(text), quoted_forms(substitute), strict=False):
            self._forms.setdefault(form, masked)

    def split(self, text: str) -> list[tuple[str, bool]]:
        """Return the text in pieces: substitutes of known texts (True), and what is between them (False)."""
        forms = sorted((form for form in self._forms if form in text), key=len, reverse=True)
        if not forms:
            return [(text, False)]
        pattern = rf"(?<![0-9A-Za-z])(?:{'|'.join(map(re.escape, forms))})(?![0-9A-Za-z])"
        pieces: list[tuple[str, bool]] = []
        end = 0
        for found in re.finditer(pattern, text):
            pieces += [(text[end : found.start()], False), (self._forms[found[0]], True)]
            end = found.end()
        return [*pieces, (text[end:], False)]


class Masks:
    """The masks of one bundle. `host` is that of the platform, with its port unless that is 443."""

    def __init__(self, host: str = "", key: bytes | None = None) -> None:
        self._host = _without_port(host.lower())
        self._pseudonyms = Pseudonyms(key)
        self.name = functools.lru_cache(LIMITS.cached_substitutes)(self._name)

    def number(self, name: str, text: str) -> str:
        """Return a number of JSON in a field of this name, with its digits replaced unless it is harmless."""
        plain = _plain(name)
        is_time = plain in harmless.TIME_NAMES and harmless.MOMENT.fullmatch(text)
        is_short = plain in harmless.NUMBER_NAMES and harmless.SHORT_NUMBER.fullmatch(text)
        return text if is_time or is_short else self._pseudonyms.number(text)

    def value(self, name: str, text: str, known: Known, *, is_error: bool = False) -> str:
        """Return the text of a field of this name, masked unless it is harmless; `is_error` if it is in a refusal."""
        if harmless.SECRET_NAME.search(name):
            return MASK if text else ""
        if is_harmless(name, text):
            return text
        prose = harmless.ERROR_PROSE_NAME if is_error else harmless.PROSE_NAME
        is_prose = not name or prose.fullmatch(spelled(name))
        return self.sentence(text, known) if is_prose else self.hidden(text)

    def hidden(self, text: str) -> str:
        """Return a text with every word replaced."""
        pieces, end = [], 0
        for found in _URL.finditer(text):
            pieces += [self._hidden_words(text[end : found.start()]), self.url(found[0])]
            end = found.end()
        return "".join((*pieces, self._hidden_words(text[end:])))

    def sentence(self, text: str, known: Known) -> str:
        """Return a sentence of the vendor in which words that are not its own are replaced."""
        return "".join(
            piece if is_substitute else self._sentence(piece) for piece, is_substitute in known.split(_revealed(text))
        )

    def path(self, path: str) -> str:
        """Return a percent-encoded path in which segments are replaced that are no words of the vendor."""
        return "/".join(map(self._segment, path.split("/")))

    def url(self, url: str) -> str:
        """Return a URL without its user, its signature and its fragment, masked otherwise as described above."""
        try:
            parts = urlsplit(url)
            host = parts.netloc.rpartition("@")[2].lower()
        except ValueError:
            return f"{PLACEHOLDER}/"
        is_public = harmless.VENDOR_HOST.fullmatch(host) is not None and host != self._host
        origin = f"{parts.scheme}://{host}" if is_public else PLACEHOLDER
        pairs = [pair.partition("=") for pair in parts.query.split("&") if pair]
        query = "&".join(self._parameter(name, equals_sign, value) for name, equals_sign, value in pairs)
        return origin + self.path(parts.path) + (f"?{query}" if query else "")

    def _name(self, name: str) -> str:
        """Return the name of a field, replaced unless it is one of the vendor's."""
        is_vendors = harmless.SYSTEM_NAME.fullmatch(name) or (name[:2] == "E_" and name[2:] in harmless.FORM_FIELDS)
        return name if not name or is_vendors or _is_of_words(name, harmless.FIELD_WORDS) else self.hidden(name)

    def _segment(self, segment: str) -> str:
        text = unquote(segment)
        return segment if is_vendors_segment(segment) else quote(self._hidden_words(text), safe=":")

    def _parameter(self, name: str, equals_sign: str, value: str) -> str:
        decoded = unquote(name)
        is_expiry = url_names.EXPIRY.search(decoded.lower()) or url_names.SHORT_EXPIRY.search(decoded.lower())
        if not _is_of_words(decoded, _URL_WORDS):
            name = quote(self.hidden(decoded), safe="")
        if is_expiry and _EXPIRY.fullmatch(value):
            return f"{name}={value}"
        if harmless.SECRET_NAME.search(decoded) or url_names.SIGNS.search(decoded.lower()):
            return f"{name}={MASK}"
        return name + equals_sign + quote(self.hidden(unquote(value)), safe="")

    def _hidden_words(self, text: str) -> str:
        pieces, end, text = [], 0, revealed(text)
        for found in harmless.FILE_SUFFIX.finditer(text):
            pieces += [self._pseudonyms.text(text[end : found.start()]), found[0]]
            end = found.end()
        return "".join((*pieces, self._pseudonyms.text(text[end:])))

    def _sentence(self, text: str) -> str:
        pieces, end = [], 0
        for found in _OPAQUE.finditer(text):
            pieces += [_IN_SENTENCE.sub(self._in_sentence, text[end : found.start()]), self._opaque(found)]
            end = found.end()
        return "".join((*pieces, _IN_SENTENCE.sub(self._in_sentence, text[end:])))

    def _opaque(self, found: re.Match[str]) -> str:
        text = found[0]
        match found.lastgroup:
            case "url":
                return self.url(text)
            case "secret":
                return found["secret"] + MASK
            case "digits" if all(len(part) <= _LONGEST_PART for part in _PART.findall(text)):
                return self._pseudonyms.together(text)
        return self._pseudonyms.words(text)

    def _in_sentence(self, found: re.Match[str]) -> str:
        text = found[0]
        match found.lastgroup:
            case "system" if harmless.SYSTEM_NAME.fullmatch(text):
                return text
            case "chinese":
                return self._chinese_words(text)
            case "ascii":
                is_known = _SHORT.fullmatch(text) or _is_of_words(text, harmless.PROSE_WORDS)
                return text if is_known else self._pseudonyms.words(text)
        return self._pseudonyms.words(text)

    def _chinese_words(self, text: str) -> str:
        """Return a run of Chinese characters in which those that belong to no known word are replaced."""
        pieces, end = [], 0
        for found in harmless.CHINESE_WORD.finditer(text):
            between, word = text[end : found.start()], found[0]
            if _is_name(between, word):
                pieces.append(self._pseudonyms.words(between + word))
            else:
                pieces += [self._unknown(between, 2), word]
            end = found.end()
        # Two of these characters beside no word of the vendor may be a name.
        return "".join((*pieces, self._unknown(text[end:], 2 if end else 1)))

    def _unknown(self, text: str, longest: int) -> str:
        return text if len(text) <= longest and _are_function_words(text) else self._pseudonyms.words(text)


def is_vendors_segment(segment: str) -> bool:
    """Return whether a segment of a path consists of the vendor's words, as opposed to an ID."""
    return not segment or _VERSION.fullmatch(segment) is not None or _is_of_words(segment, harmless.FIELD_WORDS)


def is_harmless(name: str, text: str) -> bool:
    """Return whether the text of a field of this name is kept: a word of an enum, a short number, a time."""
    if not text.strip():
        return True
    plain = _plain(name)
    if harmless.SYSTEM_NAME.fullmatch(text):
        return plain in harmless.SYSTEM_NAMES
    if plain in harmless.ENUM_NAMES and _is_word_of_enum(text):
        return True
    if plain in harmless.NUMBER_NAMES and harmless.SHORT_NUMBER.fullmatch(text):
        return True
    is_time = plain in harmless.TIME_NAMES and harmless.MOMENT.fullmatch(text)
    is_request_id = spelled(name) in harmless.REQUEST_ID_NAMES and harmless.REQUEST_ID.fullmatch(text)
    return bool(is_time or is_request_id)


def is_error_code(text: str) -> bool:
    """Return whether a text has the form of an error code: a short number or a constant."""
    is_constant = harmless.CONSTANT.fullmatch(text) and _is_of_words(text, harmless.ENUM_WORDS | harmless.PROSE_WORDS)
    return is_constant is True or harmless.SHORT_NUMBER.fullmatch(text) is not None


def stands_beside_code(name: str) -> bool:
    """Return whether a field of this name shows that the `code` beside it is one of an error."""
    return harmless.MESSAGE_NAME.fullmatch(spelled(name)) is not None


def is_of_error(name: str) -> bool:
    """Return whether an object that has a field of this name may be an error and nothing else."""
    return spelled(name) in harmless.ERROR_FIELDS


def _revealed(text: str) -> str:
    """Return a text without escapes of letters, except in its URLs, which are unquoted when they are masked."""
    pieces, end = [], 0
    for found in _URL.finditer(text):
        pieces += [revealed(text[end : found.start()]), found[0]]
        end = found.end()
    return "".join((*pieces, revealed(text[end:])))


def _are_function_words(text: str) -> bool:
    return all(character in harmless.FUNCTION_CHARACTERS for character in text)


def _is_name(between: str, word: str) -> bool:
    """Return whether a character and a word behind it may be a family name and a given name."""
    return len(between) == 1 and len(word) <= _LONGEST_GIVEN_NAME and not _are_function_words(between)


def _without_port(host: str) -> str:
    return re.sub(r":\d*$", "", host)


def _is_word_of_enum(text: str) -> bool:
    is_plain = harmless.SYMBOL.fullmatch(text) or harmless.CHINESE_WORD.fullmatch(text)
    return is_plain is not None or _is_of_words(text, harmless.ENUM_WORDS)


def _plain(name: str) -> str:
    """Return the name of a field in lower case, without the prefix of its entity."""
    return name.rpartition("_")[2] if name.startswith("E_") else name.lower()


def spelled(name: str) -> str:
    """Return the name of a field in lower case, without `_` and `-`."""
    return name.replace("_", "").replace("-", "").lower()


def _is_of_words(name: str, words: frozenset[str]) -> bool:
    return _NAME.fullmatch(name) is not None and all(word.lower() in words for word in _WORDS_IN_NAME.findall(name))
