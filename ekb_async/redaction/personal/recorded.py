"""What is stored of an exchange: bodies and paths without secrets and personal data, and a last check of the result."""

from __future__ import annotations

import base64
import codecs
import functools
import json
import re
from collections import defaultdict
from collections.abc import Iterable
from urllib.parse import quote

import msgspec

from ekb_async.redaction.limits import LIMITS
from ekb_async.redaction.masking import mask, unescaped
from ekb_async.redaction.personal.json_text import mask_json
from ekb_async.redaction.personal.texts import Known, Masks

UNDECODABLE = "\uf8ff"
"""Stands for a byte that is not valid in the encoding of the text."""
_UTF_8 = "utf-8"
_GB18030 = "gb18030"
_WIDE = ("utf-16", "utf-32")
_CHARACTERS_PER_NUL = 16
"""Bytes per zero byte from which on a text counts as one with control characters, not as one in a wide encoding."""
_PIECE_CHARACTERS = 8
"""Length of the piece of a secret by which a text is searched for it."""
_SURROGATES = re.compile("[\ud800-\udfff]")
_JSON_BEGINS = re.compile(r'\ufeff?\s*+[{\["]')


class MaskedText(msgspec.Struct, frozen=True):
    """A masked body. `bytes_of` returns it as it can be sent."""

    text: str
    encoding: str


class SecretInTextError(ValueError):
    """Raised for a text that is about to be stored with a secret in it."""


def masked_body(
    body: bytes,
    charset: str | None,
    masks: Masks,
    known: Known,
    secrets: tuple[str, ...],
    *,
    collects: bool = False,
    is_error: bool = False,
) -> MaskedText:
    """Return a body masked, in its own encoding if there is one; `charset` is the declared one.

    The texts of a request (`collects`) are added to `known`, which replaces them in the body of the reply.
    In one that refuses a request (`is_error`) more fields hold sentences of the vendor.
    """
    text, encoding = _decoded(body, charset)
    text = without_secrets(text, secrets)
    if _JSON_BEGINS.match(text):
        masked = mask_json(text, masks, known, collects=collects, is_error=is_error)
    else:
        masked = masks.sentence(text, known)
    return MaskedText(masked, encoding)


def bytes_of(masked: MaskedText) -> bytes:
    """Return the bytes of a masked body. Raises `LookupError` for an encoding that does not exist."""
    pieces = masked.text.split(UNDECODABLE)
    return b"\xff".join(piece.encode(masked.encoding, "replace") for piece in pieces)


def without_secrets(text: str, secrets: Iterable[str]) -> str:
    """Return a text with the secrets masked, in any case of their letters."""
    present = _found_in(text, secrets)
    return mask(text, tuple(form for each in present for form in (each, each.upper(), each.lower())))


def check_free_of(text: str, secrets: Iterable[str]) -> None:
    """Raise `SecretInTextError` if a text contains a secret: literally, escaped, or within BASE64 or hexadecimal.

    The case of letters makes no difference.
    """
    if _found_in(text, secrets):
        raise SecretInTextError("a secret was left in the text")


def _found_in(text: str, secrets: Iterable[str]) -> list[str]:
    """Return those secrets that are in a text, in time proportional to the text and the number of secrets."""
    pieces: dict[int, dict[str, list[tuple[int, str, str]]]] = defaultdict(lambda: defaultdict(list))
    for secret in dict.fromkeys(secrets):
        for form in _forms(secret) if len(secret) >= LIMITS.min_secret_characters else ():
            size = min(len(form), _PIECE_CHARACTERS)
            # Secrets of one issuer often begin or end alike.
            begin = (len(form) - size) // 2
            pieces[size][form[begin : begin + size]].append((begin, form, secret))
    searched = _views(text) if pieces else ""
    found: dict[str, None] = {}
    for size, by_piece in pieces.items():
        for at in range(len(searched) - size + 1):
            for begin, form, secret in by_piece.get(searched[at : at + size], ()):
                if secret not in found and searched.startswith(form, max(0, at - begin)):
                    found[secret] = None
    return list(found)


def _views(text: str) -> str:
    """Return a text in lower case as it is and unescaped, each also without blanks."""
    views = [text]
    for _ in range(LIMITS.unescapings):
        # JSON within JSON is escaped twice, and a URL in it once more.
        if (plain := unescaped(views[-1])[0]) == views[-1]:
            break
        views.append(plain)
    # A line break may split a secret.
    return "\n".join(dict.fromkeys((*views, *("".join(view.split()) for view in views)))).lower()


def _decoded(body: bytes, charset: str | None) -> tuple[str, str]:
    wide = _wide_encoding(body, charset)
    if wide is None:
        return UNDECODABLE * len(body), _UTF_8
    for encoding in (wide,) if wide else (_UTF_8, *([charset] if charset else ()), _GB18030):
        try:
            # A character that was cut off at the end is dropped.
            return _without_marks(codecs.getincrementaldecoder(encoding)().decode(body)), encoding
        except (UnicodeError, LookupError):
            continue
    text = _without_marks(body.decode(_UTF_8, "surrogateescape"))
    return _SURROGATES.sub(UNDECODABLE, text), _UTF_8


def _wide_encoding(body: bytes, charset: str | None) -> str | None:
    """Return the encoding of a body whose characters have two or four bytes, "" for another body, None if unknown."""
    encoding = charset or ""
    if not encoding.startswith(_WIDE):
        if b"\0" not in body and not body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return ""
        encoding = json.detect_encoding(body)
    if not encoding.startswith(_WIDE):
        return "" if body.count(b"\0") * _CHARACTERS_PER_NUL < len(body) else None
    try:
        codecs.getincrementaldecoder(encoding)().decode(body)
    except UnicodeError:
        return None
    return encoding


def _without_marks(text: str) -> str:
    return text.replace(UNDECODABLE, "\ufffd")


@functools.lru_cache(LIMITS.cached_forms)
def _forms(secret: str) -> frozenset[str]:
    """Return a secret in lower case literally, and in the forms that no unescaping finds: BASE64 and hexadecimal."""
    plain = unescaped(secret)[0]
    # Form encoding writes spaces as pluses.
    forms = {secret, plain, "".join(plain.split()), plain.replace(" ", "+")}
    # Unescaping changes a secret that contains a percent sign of its own.
    forms |= {quote(form, safe=safe) for form in (secret, quote(secret)) for safe in ("", "/")}
    content = secret.encode(errors="surrogatepass")
    forms.add(content.hex())
    for offset in range(3):
        encoded = base64.b64encode(bytes(offset) + content).decode()
        # The first and the last characters also depend on what stands beside the secret.
        inner = encoded[(0, 2, 3)[offset] : len(encoded) - (0 if (offset + len(content)) % 3 == 0 else 4)]
        forms |= {inner, inner.replace("+", "-").replace("/", "_")}
    return frozenset(form.lower() for form in forms if len(form) >= LIMITS.min_secret_characters)
