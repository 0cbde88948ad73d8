"""Mask JSON in its text, so that its spelling stays: blanks, escapes, order, numbers as they are written.

The text need not be valid. It may be cut off, or be no JSON after its beginning; what is between the tokens is masked
like a sentence.
"""

from __future__ import annotations

import json
import re

from ekb_async.redaction.limits import LIMITS
from ekb_async.redaction.masking import MASK
from ekb_async.redaction.personal.harmless import SECRET_NAME
from ekb_async.redaction.personal.texts import Known, Masks, is_error_code, is_of_error, stands_beside_code

_TOKEN = re.compile(
    r'(?P<string>"(?:[^"\\]|\\.)*+(?:"|\\?\Z))|(?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.]))'
    r'|(?P<mark>[{}\[\],:])|(?P<other>[^\s{}\[\],:"]+)',
    re.DOTALL | re.ASCII,
)
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.)|\Z)", re.DOTALL)
_SHORT_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_WORDS = frozenset({"true", "false", "null", "NaN", "Infinity", "-Infinity"})
_PRODUCT = "power"
"""The field of a licence whose `code` and `name` are those of a product of the vendor."""


class _Frame:
    """An object or a list that has not ended."""

    def __init__(self, name: str, *, is_object: bool, is_secret: bool = False) -> None:
        self.is_secret = is_secret
        """Whether everything in it is a secret."""
        self.is_object = is_object
        self.outer_name = name
        self.name = "" if is_object else name
        """The name of the field whose value follows; within a list, that of the list."""
        self.expects_name = is_object
        self.has_message = False
        self.has_error_only = True
        self.codes: list[tuple[int, str]] = []
        """Positions and spellings of values of `code`, which are kept if they are codes of errors."""


class _Scan:
    """One pass over a text."""

    def __init__(self, masks: Masks, known: Known, depth: int, name: str, *, collects: bool, is_error: bool) -> None:
        self._masks = masks
        self._known = known
        self._depth = depth
        self._collects = collects
        self._is_error = is_error
        self._pieces: list[str] = []
        self._frames = [_Frame(name, is_object=False)]

    def run(self, text: str) -> str:
        end = 0
        for found in _TOKEN.finditer(text):
            self._pieces += [text[end : found.start()], self._masked(found)]
            end = found.end()
        while len(self._frames) > 1:
            self._close()
        return "".join((*self._pieces, text[end:]))

    def _masked(self, found: re.Match[str]) -> str:
        raw, frame = found[0], self._frames[-1]
        match found.lastgroup:
            case "mark":
                self._structure(raw)
                return raw
            case "string":
                return self._field_name(raw) if frame.expects_name else self._string(raw)
            case "number":
                if frame.is_object and frame.name == "code" and is_error_code(raw):
                    frame.codes.append((len(self._pieces) + 1, raw))
                return self._masks.number("" if frame.is_secret else frame.name, raw)
        if raw in _WORDS:
            return raw
        # Short numbers in a sentence are kept if they stand alone, which a single token does not show.
        is_hidden = frame.is_secret or any(character.isdecimal() for character in raw)
        return self._masks.hidden(raw) if is_hidden else self._masks.sentence(raw, self._known)

    def _structure(self, mark: str) -> None:
        frame = self._frames[-1]
        match mark:
            case "{" | "[":
                if len(self._frames) > LIMITS.json_depth:
                    # Deeper levels count as one: a name there may be masked as a value, which is stricter.
                    return
                is_secret = frame.is_secret or SECRET_NAME.search(frame.name) is not None
                self._frames.append(_Frame(frame.name, is_object=mark == "{", is_secret=is_secret))
            case "}" | "]":
                if len(self._frames) > 1:
                    self._close()
            case ",":
                frame.expects_name = frame.is_object
            case ":":
                frame.expects_name = False

    def _close(self) -> None:
        frame = self._frames.pop()
        if (frame.has_message and frame.has_error_only) or frame.outer_name == _PRODUCT:
            for position, raw in frame.codes:
                self._pieces[position] = raw

    def _field_name(self, raw: str) -> str:
        frame = self._frames[-1]
        frame.name = _decoded(raw)
        frame.has_message |= stands_beside_code(frame.name)
        frame.has_error_only &= is_of_error(frame.name)
        name = self._masks.name(frame.name)
        if self._collects:
            self._known.add(frame.name, name)
        return raw if name == frame.name else _encoded(name, raw)

    def _string(self, raw: str) -> str:
        frame = self._frames[-1]
        text = _decoded(raw)
        if frame.is_object and frame.name == "code" and is_error_code(text):
            frame.codes.append((len(self._pieces) + 1, raw))
        if frame.is_secret or SECRET_NAME.search(frame.name):
            masked = MASK if text else ""
        elif text.lstrip().startswith(("{", "[")) and self._depth < LIMITS.json_depth:
            masked = mask_json(
                text,
                self._masks,
                self._known,
                collects=self._collects,
                is_error=self._is_error,
                name=frame.name,
                depth=self._depth + 1,
            )
        else:
            is_product = frame.outer_name == _PRODUCT and frame.name == "name"
            name = "" if is_product else frame.name
            masked = self._masks.value(name, text, self._known, is_error=self._is_error)
            if self._collects:
                self._known.add(text, masked)
        return raw if masked == text else _encoded(masked, raw)


def mask_json(
    text: str,
    masks: Masks,
    known: Known,
    *,
    collects: bool = False,
    is_error: bool = False,
    name: str = "",
    depth: int = 0,
) -> str:
    """Return a text that begins as JSON, masked; `name` is that of the field in which it is.

    With `collects`, its texts are added to `known`: it is a request. `is_error` is true for a reply that refuses one.
    """
    return _Scan(masks, known, depth, name, collects=collects, is_error=is_error).run(text)


def _decoded(raw: str) -> str:
    """Return the text of a JSON string, which may lack its end or have invalid escapes."""
    try:
        return str(json.loads(raw, strict=False))
    except ValueError:
        inner = raw[1:-1] if len(raw) > 1 and raw.endswith('"') else raw[1:]
        return _ESCAPE.sub(_unescaped, inner)


def _unescaped(found: re.Match[str]) -> str:
    code, character = found.groups()
    return chr(int(code, 16)) if code else _SHORT_ESCAPES.get(character or "", character or "")


def _encoded(text: str, raw: str) -> str:
    """Return a text as a JSON string, escaped as `raw` is, and without an end if `raw` has none."""
    encoded = json.dumps(text, ensure_ascii="\\u" in raw)
    return encoded if len(raw) > 1 and raw.endswith('"') else encoded[:-1]
