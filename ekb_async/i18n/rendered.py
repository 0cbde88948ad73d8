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
_NESTED = 5
"""How deep messages may lie within messages."""
_MAX_CHARACTERS = 100_000
_MAX_LINE_CHARACTERS = 4_000
_KEPT = 4_096
"""Translations that are kept; an export repeats few messages many times."""
_SEPARATORS = {": ": "：", "; ": "；", ". ": ""}
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


class _Reading(NamedTuple):
    """What a text was read as."""

    translated: str
    explained: int = 0
    """The number of characters that were translated; the others are values."""
    is_whole: bool = False
    """Whether all values that were not translated are single words, so that no reading can be better."""


class Translator:
    """Finds the translation of complete texts; `messages` has templates and their translations."""

    def __init__(self, messages: Mapping[str, str]) -> None:
        found = [_Template.of(text, translated) for text, translated in messages.items() if translated]
        self._exact = {each.literals[0]: _put(each.translated, {}) for each in found if not each.names}
        templates = sorted((each for each in found if each.names), key=lambda each: -each.weight)
        frequency = Counter(word for each in templates for word in each.words())
        self._by_word: dict[str, list[tuple[int, _Template]]] = defaultdict(list)
        for rank, each in enumerate(templates):
            rarest = min(each.words(), key=lambda word: (frequency[word], word), default=_ANY)
            self._by_word[rarest].append((rank, each))
        self._read = lru_cache(_KEPT)(self._best_reading)

    def translate(self, text: str) -> str:
        """Return the translation of a text, or the text itself if it has none; each line is a text of its own."""
        if (exact := self._exact.get(text)) is not None or not text or len(text) > _MAX_CHARACTERS:
            return exact or text
        return "\n".join(map(self._of_line, text.split("\n"))) if "\n" in text else self._of_line(text)

    def _of_line(self, text: str) -> str:
        return text if len(text) > _MAX_LINE_CHARACTERS else self._read(text, _NESTED).translated

    def _best_reading(self, text: str, depth: int) -> _Reading:
        """Return the reading that translates most; of equal ones, that by the template that says most itself."""
        if (exact := self._exact.get(text)) is not None:
            return _Reading(exact, len(text), is_whole=True)
        best = _Reading(text, is_whole=" " not in text)
        if not depth or not text:
            return best
        for template in self._templates_for(text):
            if (values := template.values(text)) is None:
                continue
            nested = {name: self._read(value, depth - 1) for name, value in values.items()}
            explained = template.weight + sum(each.explained for each in nested.values())
            if explained > best.explained:
                translated = _put(template.translated, {name: each.translated for name, each in nested.items()})
                best = _Reading(translated, explained, all(each.is_whole for each in nested.values()))
                if best.is_whole:
                    return best
        joined = self._joined(text, depth)
        return joined if joined.explained > best.explained else best

    def _templates_for(self, text: str) -> list[_Template]:
        """Return the templates that a text may be of, those first that say most of it themselves."""
        words = {*text.split(" "), _ANY}
        found = [each for word in words & self._by_word.keys() for each in self._by_word[word]]
        return [template for _, template in sorted(found, key=itemgetter(0))]

    def _joined(self, text: str, depth: int) -> _Reading:
        """Return the reading as two joined messages."""
        at, separator = min(((text.find(each), each) for each in _SEPARATORS if each in text), default=(0, ""))
        if not separator:
            return _Reading(text)
        begin = at + len(_END) if separator.startswith(_END) else at
        first = self._read(text[:begin], depth - 1)
        rest = self._read(text[at + len(separator) :], depth - 1)
        mark = _SEPARATORS[separator] or ("" if first.explained else " ")
        return _Reading(
            f"{first.translated}{mark}{rest.translated}",
            first.explained + rest.explained,
            first.is_whole and rest.is_whole,
        )


def _put(template: str, values: Mapping[str, str]) -> str:
    pieces = []
    for literal, name, _, _ in Formatter().parse(template):
        pieces.append(literal)
        if name is not None:
            pieces.append(values[name])
    return "".join(pieces)
