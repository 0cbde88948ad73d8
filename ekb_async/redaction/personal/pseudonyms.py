"""Keyed substitutes of the same shape, for words, numbers and dates.

A text is substituted word by word, a word being a run of ASCII letters and digits, or of Chinese characters. So the
parts of a compound ID have the same substitutes as they have on their own. Different words of the same shape have
different substitutes: each shape has a permutation of its own, a Feistel network over the words of this shape, repeated
until the result is a word that is not kept as it is ("cycle walking"). The key is random and never stored, so nothing
can be looked up or guessed by trying.

Kept are zeros and the number 1. The substitute of a date is a date of the same period.
"""

from __future__ import annotations

import datetime
import functools
import hashlib
import itertools
import math
import re
import secrets
from typing import NamedTuple

from ekb_async.redaction.limits import LIMITS

_FIRST_CHINESE, _LAST_CHINESE = 0x4E00, 0x9FA5
"""The characters of GBK and GB18030, so that a text can be encoded as before."""
_PUNCTUATION = (
    r"\xa0-\xa9\xab-\xb1\xb4\xb6-\xb8\xbb\xbf\xd7\xf7\u2010-\u2029\u202f-\u205f\u20ac"
    r"\u3000-\u3003\u3008-\u3020\uf8ff\ufeff-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65\uffe0-\uffe6\ufffd"
)
"""Punctuation and blanks beyond ASCII; letters are among all other characters, such as circled ones and Braille."""
_WORD = re.compile(rf"[0-9A-Za-z]+|[一-龥]+|[^\0-\x7f一-龥{_PUNCTUATION}]+")
_ASCII = re.compile("[0-9A-Za-z]+")
_DATE = re.compile(
    r"(?<![0-9A-Za-z])((?:19|20)\d\d)([-/.年])(\d\d?)([-/.月])(\d\d?)(?!\d)(日?)"
    r"((?:[ T]|(?=\d))\d\d:\d\d(?::\d\d)?(?![\d:]))?",
    re.ASCII,
)
_DAY = re.compile(r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])", re.ASCII)
_MILLISECONDS = re.compile(r"1\d{12}", re.ASCII)
_MILLISECONDS_PER_DAY = 86_400_000
_UTC8_MILLISECONDS = 8 * 3_600_000
_EPOCH = datetime.date(1970, 1, 1).toordinal()
_PERIODS = tuple(datetime.date(year, 1, 1).toordinal() for year in (1900, 2002, 2030, 2100))
"""A date stays between two of these. The times of the middle period have 13 digits in milliseconds."""
_ROUNDS = 8


class _Place(NamedTuple):
    """The characters among which one character of a word is replaced."""

    first: int
    size: int


_DIGIT, _NOT_ZERO, _ZERO = _Place(ord("0"), 10), _Place(ord("1"), 9), _Place(ord("0"), 1)
_LOWER, _UPPER = _Place(ord("a"), 26), _Place(ord("A"), 26)
_CHINESE = _Place(_FIRST_CHINESE, _LAST_CHINESE - _FIRST_CHINESE + 1)


class Pseudonyms:
    """The substitutes of one bundle."""

    def __init__(self, key: bytes | None = None) -> None:
        self._key = key or secrets.token_bytes(32)
        self.word = functools.lru_cache(LIMITS.cached_substitutes)(self._word)

    def text(self, text: str) -> str:
        """Return a text with every word and date replaced. Punctuation, blanks and known suffixes of files stay."""
        pieces, end = [], 0
        for found in _DATE.finditer(text):
            if (date := self._date(found)) is not None:
                pieces += [self.words(text[end : found.start()]), date]
                end = found.end()
        return "".join((*pieces, self.words(text[end:])))

    def words(self, text: str) -> str:
        """Return a text with every word replaced."""
        return _WORD.sub(lambda found: self.word(found[0]), text)

    def together(self, text: str) -> str:
        """Return a text whose words, of ASCII letters and digits, are replaced as if they were one."""
        substitute = iter(self.word("".join(_ASCII.findall(text))))
        return _ASCII.sub(lambda found: "".join(itertools.islice(substitute, len(found[0]))), text)

    def number(self, text: str) -> str:
        """Return a number of JSON with its digits replaced, except for those of its exponent."""
        digits, mark, exponent = re.split("([eE]|$)", text, maxsplit=1)
        return self.words(digits) + mark + exponent

    def _word(self, word: str) -> str:
        if not word.isascii() and not _FIRST_CHINESE <= ord(word[0]) <= _LAST_CHINESE:
            return self._foreign(word)
        if word.isdecimal():
            if not word.strip("0") or word == "1":
                return word
            if _is_day(word):
                return f"{self._day(_day_of(word)):%Y%m%d}"
            if _is_time(word):
                return self._time(int(word))
        size = LIMITS.substituted_characters
        return "".join(self._piece(word[start : start + size], start) for start in range(0, len(word), size))

    def _piece(self, word: str, start: int) -> str:
        places = [_place(character) for character in word]
        if start == 0 and word.isdecimal():
            places[0] = _ZERO if word[0] == "0" else _NOT_ZERO
        size = math.prod(place.size for place in places)
        tweak = f"{start} {word.isdecimal()} {[place.size for place in places]}"
        value = 0
        for character, place in zip(word, places, strict=True):
            value = value * place.size + ord(character) - place.first
        while True:
            value = self._permuted(value, size, tweak)
            substitute = _spelled(value, places)
            if start or not _is_kept(substitute):
                return substitute

    def _foreign(self, word: str) -> str:
        # Letters of other alphabets become ASCII letters, which every encoding has.
        digest = hashlib.blake2b(word.encode(errors="surrogatepass"), key=self._key, digest_size=64).digest()
        return "".join(chr(ord("a") + digest[index % 64] % 26) for index in range(len(word)))

    def _date(self, found: re.Match[str]) -> str | None:
        year, mark, month, second_mark, day, end, moment = found.groups(default="")
        try:
            date = datetime.date(int(year), int(month), int(day))
        except ValueError:
            return None
        date = self._day(date)
        month = f"{date.month:02d}" if len(month) > 1 else str(date.month)
        day = f"{date.day:02d}" if len(day) > 1 else str(date.day)
        return f"{date.year}{mark}{month}{second_mark}{day}{end}{moment}"

    def _day(self, date: datetime.date) -> datetime.date:
        day = date.toordinal()
        begin, end = next((first, last) for first, last in itertools.pairwise(_PERIODS) if day < last)
        return datetime.date.fromordinal(begin + self._permuted(day - begin, end - begin, f"day {begin}"))

    def _time(self, milliseconds: int) -> str:
        days, rest = divmod(milliseconds + _UTC8_MILLISECONDS, _MILLISECONDS_PER_DAY)
        day = self._day(datetime.date.fromordinal(_EPOCH + days)).toordinal() - _EPOCH
        return str(day * _MILLISECONDS_PER_DAY + rest - _UTC8_MILLISECONDS)

    def _permuted(self, value: int, size: int, tweak: str) -> int:
        """Return the image of a value below `size` under a permutation of all of them."""
        right_size = math.isqrt(size - 1) + 1
        left_size = -(-size // right_size)
        while True:
            left, right = divmod(value, right_size)
            for index in range(_ROUNDS):
                if index % 2:
                    right = (right + self._round(index, left, tweak)) % right_size
                else:
                    left = (left + self._round(index, right, tweak)) % left_size
            value = left * right_size + right
            if value < size:
                return value

    def _round(self, index: int, half: int, tweak: str) -> int:
        data = f"{tweak} {index} {half:x}".encode()
        return int.from_bytes(hashlib.blake2b(data, key=self._key, digest_size=64).digest())


def _place(character: str) -> _Place:
    if not character.isascii():
        return _CHINESE
    return _DIGIT if character.isdecimal() else _LOWER if character.islower() else _UPPER


def _spelled(value: int, places: list[_Place]) -> str:
    characters = []
    for place in reversed(places):
        value, offset = divmod(value, place.size)
        characters.append(chr(place.first + offset))
    return "".join(reversed(characters))


def _is_kept(word: str) -> bool:
    """Return whether a word is a zero, the number 1 or a date, which have substitutes of their own."""
    return word.isdecimal() and (not word.strip("0") or word == "1" or _is_day(word) or _is_time(word))


def _is_day(word: str) -> bool:
    if len(word) != 8 or _DAY.fullmatch(word) is None:
        return False
    try:
        _day_of(word)
    except ValueError:
        return False
    return True


def _day_of(word: str) -> datetime.date:
    return datetime.date(int(word[:4]), int(word[4:6]), int(word[6:]))


def _is_time(word: str) -> bool:
    if _MILLISECONDS.fullmatch(word) is None:
        return False
    day = _EPOCH + (int(word) + _UTC8_MILLISECONDS) // _MILLISECONDS_PER_DAY
    return _PERIODS[1] <= day < _PERIODS[2]
