"""Detection of errors that a file host sends with status 200 in place of the file.

Errors are texts, while files of most kinds begin with binary signatures. So a text under the name of such a kind is not
the file. Content that is not text is always accepted, whatever its name: names are not always right (a JPEG may be
called `.png`).

Gateways and file stores also write their errors in XML. XML is accepted under a name that ends in `.xml`, unless its
first elements are those of an error. XML with an element of an invoice is accepted however it is wrapped, unless the
name is that of a binary kind. Under a name without a known suffix, the known forms of error documents decide.
"""

from __future__ import annotations

import codecs
import re

from ekb_async.files.limits import LIMITS

_BINARY = frozenset(
    (".pdf", ".ofd", ".zip", ".jpg", ".jpeg", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".heic", ".rar", ".7z")
)
_MIN_CHARACTERS = 4
"""Characters that are needed to identify a kind; every error has at least as many."""
_TEXTLIKE_SIGNATURES = (b"\xff\xd8\xff", b"GIF8", b"RIFF", b"Rar!")
"""Signatures of binary files whose beginning may contain no control character and so look like text."""
_TEXTS = frozenset({".txt", ".csv", ".eml", ".md"})
_PAGES = frozenset({".html", ".htm", ".mht"})
_ENCODINGS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SKIPPED = re.compile(
    r"(?:[\s\ufeff]++|<!--.*?-->|<\?.*?\?>|<!DOCTYPE(?!\s+html)[^<>\[]*+(?:\[.*?\]\s*+)?>)*+",
    re.DOTALL | re.IGNORECASE,
)
_PAGE = re.compile(r"<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE)
_ELEMENT = re.compile(r"<(?:[^\s<>/!?:]+:)?([^\s<>/!?:]+)")
_CONTROL = re.compile(r"[\0-\x08\x0e-\x1f\x7f]")
_ERROR = re.compile(r"\w*(?:error|(?<!de)fault|exception|denied)\w*")
_INVOICE = re.compile(r"e?-?invoice(?!id)\w*|fapiao\w*|fp\w{0,4}|发票\w*")
"""The name of an element of invoices, which no error contains."""
_WRAPPER = re.compile(r"\w*(?:response|result|reply|envelope|return|message|status)|xml")
_ERROR_FIELD = re.compile(
    r"err\w*|\w*(?:error|(?<!de)fault|exception)\w*|(?:(?:return|result|status|resp|ret|sub)_?)?code"
)
_ERROR_TEXT = re.compile(
    r"den(?:y|ied)|forbid|not found|no such|expired|invalid|unauthori[sz]ed|signature|error|fail|exception|timeout"
    r"|过期|不存在|无权|未授权|失败|错误|异常|拒绝|失效",
    re.IGNORECASE,
)


def _beginning(content: bytes | bytearray) -> str:
    """Return the beginning of a file as text, without blanks, byte order marks, comments and declarations."""
    raw = bytes(content)
    mark, encoding = next(((mark, name) for mark, name in _ENCODINGS if raw.startswith(mark)), (b"", ""))
    if not encoding:
        is_wide = len(raw) > 3 and (not raw[0], not raw[1]) == (not raw[2], not raw[3]) != (False, False)
        encoding = ("utf-16-le" if raw[0] else "utf-16-be") if is_wide and any(raw[:2]) else "utf-8"
    text = raw[len(mark) :].decode(encoding, "replace")
    skipped = _SKIPPED.match(text)
    return text[skipped.end() if skipped else 0 :][: LIMITS.deciding_characters]


def is_decided_by(content: bytes | bytearray) -> bool:
    """Return whether the part of a file that has arrived decides what it is.

    A comment or declaration that has not ended decides nothing.
    """
    beginning = _beginning(content)
    is_open = beginning.startswith(("<!", "<?")) and not _PAGE.match(beginning)
    return len(beginning) == LIMITS.deciding_characters and not is_open


def what_came_instead(content: bytes | bytearray, suffix: str) -> str:
    """Return what the content is instead of a file with this suffix, "" if it may be the file.

    `content` is the file or its beginning, `suffix` the lower-case suffix of its name with the dot.
    """
    beginning = _beginning(content)
    is_text = _CONTROL.search(beginning) is None
    if is_text and beginning.startswith(("{", "[")):
        return "" if suffix == ".json" else "JSON"
    if _PAGE.match(beginning):
        return "" if suffix in _PAGES else "a page"
    if is_text and beginning.startswith("<"):
        return _instead_of_xml(beginning, suffix)
    is_undecidable = not is_text or 0 < len(beginning) < _MIN_CHARACTERS
    if is_undecidable or "%PDF" in beginning or content.startswith(_TEXTLIKE_SIGNATURES):
        return ""
    if suffix in _BINARY or suffix == ".xml":
        return "a text"
    is_error = not beginning or _ERROR_TEXT.search(beginning) is not None
    return "a text" if is_error and suffix not in _TEXTS else ""


def _instead_of_xml(beginning: str, suffix: str) -> str:
    """Return what a text that begins like XML is instead of a file with this suffix, "" if it may be the file."""
    elements = [name.lower() for name in _ELEMENT.findall(beginning)[: LIMITS.inspected_elements]]
    root = elements[0] if elements else ""
    if not _ERROR.fullmatch(root) and any(map(_INVOICE.fullmatch, elements)):
        return "XML" if suffix in _BINARY else ""
    if any(map(_ERROR.fullmatch, elements[:2])):
        return "an error in XML"
    if _WRAPPER.fullmatch(root) and any(map(_ERROR_FIELD.fullmatch, elements[1:])):
        return "an error in XML"
    return "" if suffix == ".xml" and _ELEMENT.match(beginning) else "XML"
