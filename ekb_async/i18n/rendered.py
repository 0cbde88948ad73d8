"""Translates texts that are complete already: messages, hints and warnings, which backlogs keep in English.

An error is raised deep in the package, or was stored by a run last week, while the language belongs to the person who
looks at it. So messages are made in English, and here the template of a message is found again by its literal parts:
`a.pdf: no such file` is `{0}: no such file` with the value `a.pdf`. Values may be messages themselves.

Literal parts are looked for from left to right, without going back, so the time is proportional to the text. Only the
templates of which the text has a certain word are tried, so it does not grow with the catalogue.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from functools import lru_cache
from operator import itemgetter
from string import Formatter
from typing import NamedTuple

CONTEXT = "message"
"""The context of such texts in the catalogue."""
_ANY = ""
"""In place of a word, for templates without one of their own."""
_NESTED = 4
"""How deep messages may lie within messages."""
_MAX_CHARACTERS = 4_000
_KEPT = 4_096
"""Translations that are kept; an export repeats few messages many times."""
_SEPARATORS = {": ": "：", "; ": "；", "\n": "\n", ". ": ""}
"""Between messages that were joined, and between what a message is about and the message; and what it becomes."""
_END = "."
"""The mark that belongs to the sentence before a separator."""


class _Template(NamedTuple):
    literals: tuple[str, ...]
    """One more than there are values."""
    names: tuple[str, ...]
    translated: str

    @classmethod
    def of(cls, text: str, translated: str) -> _Template:
        literals, names, literal = [], [], ""
        for piece, name, _, _ in Formatter().parse(text):
            literal += piece
            if name is not None:
                literals.append(literal)
                names.append(name)
                literal = ""
        return cls((*literals, literal), tuple(names), translated)

    @property
    def weight(self) -> int:
        return sum(map(len, self.literals))

    def words(self) -> set[str]:
        """Return the words that every text of this template has between blanks, or at its begin or end."""
        found = set()
        for place, literal in enumerate(self.literals):
            words = literal.split(" ")
            # The outermost ones may continue in a value.
            found |= set(words[place > 0 : len(words) - (place < len(self.names))])
        return found - {""}

    def values(self, text: str) -> dict[str, str] | None:
        """Return the values in a text, None if it is not of this template."""
        first, *middle, last = self.literals
        if not text.startswith(first) or not text.endswith(last):
            return None
        begin, end, found = len(first), len(text) - len(last), []
        for literal in middle:
            at = text.find(literal, begin, end)
            if at < 0:
                return None
            found.append(text[begin:at])
            begin = at + len(literal)
        if begin > end:
            return None
        return dict(zip(self.names, (*found, text[begin:end]), strict=True))


class Translator:
    """Finds the translation of complete texts; `messages` has templates and their translations."""

    def __init__(self, messages: Mapping[str, str]) -> None:
        found = [_Template.of(text, translated) for text, translated in messages.items() if translated]
        self._exact = {each.literals[0]: _put(each.translated, {}) for each in found if not each.names}
        # The template that says most of a text itself is the right one.
        templates = sorted((each for each in found if each.names), key=lambda each: -each.weight)
        frequency = Counter(word for each in templates for word in each.words())
        self._by_word: dict[str, list[tuple[int, _Template]]] = defaultdict(list)
        for rank, each in enumerate(templates):
            rarest = min(each.words(), key=lambda word: (frequency[word], word), default=_ANY)
            self._by_word[rarest].append((rank, each))
        self._translate = lru_cache(_KEPT)(self._found)

    def translate(self, text: str) -> str:
        """Return the translation of a text, or the text itself if it has none."""
        return text if len(text) > _MAX_CHARACTERS or not text else self._translate(text, _NESTED)

    def _found(self, text: str, depth: int) -> str:
        if (exact := self._exact.get(text)) is not None:
            return exact
        if not depth or not text:
            return text
        for template in self._templates_for(text):
            if (values := template.values(text)) is not None:
                nested = {name: self._translate(value, depth - 1) for name, value in values.items()}
                return _put(template.translated, nested)
        return self._joined(text, depth)

    def _templates_for(self, text: str) -> list[_Template]:
        """Return the templates that a text may be of, the most specific one first."""
        words = {*text.split(" "), _ANY}
        found = [each for word in words & self._by_word.keys() for each in self._by_word[word]]
        return [template for _, template in sorted(found, key=itemgetter(0))]

    def _joined(self, text: str, depth: int) -> str:
        """Return two joined messages, each translated if it can be."""
        at, separator = min(((text.find(each), each) for each in _SEPARATORS if each in text), default=(0, ""))
        if not separator:
            return text
        begin = at + len(_END) if separator.startswith(_END) else at
        first, rest = text[:begin], text[at + len(separator) :]
        pieces = self._translate(first, depth - 1), self._translate(rest, depth - 1)
        if pieces == (first, rest):
            return text
        return _SEPARATORS[separator].join(pieces)


def _put(template: str, values: Mapping[str, str]) -> str:
    pieces = []
    for literal, name, _, _ in Formatter().parse(template):
        pieces.append(literal)
        if name is not None:
            pieces.append(values[name])
    return "".join(pieces)
