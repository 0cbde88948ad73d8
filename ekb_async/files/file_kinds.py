"""Whether what a file host sent with status 200 is the file, or an error that it wrote in the file's place.

Errors are texts, and files of most kinds begin with bytes of their own. So under a name of such a kind no text is the
file, and what is no text is never refused: names are not always right (a JPEG is called `.png`). XML is a file under a
name that ends so, since gateways and stores write their errors in it, and then only if its first elements are no
error's; and XML that names an invoice is one, however it is wrapped, unless its name is that of another kind. Under a
name that says nothing, what is known of error documents decides.
"""

from __future__ import annotations

import codecs
import re

DECIDED_BY = 1024
"""Characters at the beginning of a file, blanks and comments left out, that tell what it is."""

_BINARY = frozenset(
    (".pdf", ".ofd", ".zip", ".jpg", ".jpeg", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".heic", ".rar", ".7z")
)
_SHORTEST = 4
"""Characters that identify a kind; every error has at least as many."""
_READABLE_BEGINNINGS = (b"\xff\xd8\xff", b"GIF8", b"RIFF", b"Rar!")
"""Of files that may have nothing for a while that is no text."""
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
_FIRST_ELEMENTS = 24
_ERROR = re.compile(r"\w*(?:error|(?<!de)fault|exception|denied)\w*")
_INVOICE = re.compile(r"e?-?invoice(?!id)\w*|fapiao\w*|fp\w{0,4}|发票\w*")
"""An element of an invoice, which no error has."""
_WRAPPER = re.compile(r"\w*(?:response|result|reply|envelope|return|message|status)|xml")
_ERROR_FIELD = re.compile(
    r"err\w*|\w*(?:error|(?<!de)fault|exception)\w*|(?:(?:return|result|status|resp|ret|sub)_?)?code"
)
_ERROR_TEXT = re.compile(
    r"den(?:y|ied)|forbid|not found|no such|expired|invalid|unauthori[sz]ed|signature|error|fail|exception|timeout"
    r"|过期|不存在|无权|未授权|失败|错误|异常|拒绝|失效",
    re.IGNORECASE,
)


def begins(content: bytes | bytearray) -> str:
    """Return the beginning of a file as text, without blanks, byte order marks, comments and declarations."""
    raw = bytes(content)
    mark, encoding = next(((mark, name) for mark, name in _ENCODINGS if raw.startswith(mark)), (b"", ""))
    if not encoding:
        is_wide = len(raw) > 3 and (not raw[0], not raw[1]) == (not raw[2], not raw[3]) != (False, False)
        encoding = ("utf-16-le" if raw[0] else "utf-16-be") if is_wide and any(raw[:2]) else "utf-8"
    text = raw[len(mark) :].decode(encoding, "replace")
    skipped = _SKIPPED.match(text)
    return text[skipped.end() if skipped else 0 :][:DECIDED_BY]


def is_decided_by(content: bytes | bytearray) -> bool:
    """Return whether what has come of a file tells what it is; a comment or declaration that has not ended does not."""
    beginning = begins(content)
    is_open = beginning.startswith(("<!", "<?")) and not _PAGE.match(beginning)
    return len(beginning) == DECIDED_BY and not is_open


def what_came_instead(content: bytes | bytearray, suffix: str) -> str:
    """Return what a file begins with in place of what one with this suffix begins with; "" if all is well."""
    beginning = begins(content)
    is_text = _CONTROL.search(beginning) is None
    if is_text and beginning.startswith(("{", "[")):
        return "" if suffix == ".json" else "JSON"
    if _PAGE.match(beginning):
        return "" if suffix in _PAGES else "a page"
    if is_text and beginning.startswith("<"):
        return _in_xml(beginning, suffix)
    says_nothing = not is_text or 0 < len(beginning) < _SHORTEST
    if says_nothing or "%PDF" in beginning or content.startswith(_READABLE_BEGINNINGS):
        return ""
    if suffix in _BINARY or suffix == ".xml":
        return "a text"
    is_error = not beginning or _ERROR_TEXT.search(beginning) is not None
    return "a text" if is_error and suffix not in _TEXTS else ""


def _in_xml(beginning: str, suffix: str) -> str:
    elements = [name.lower() for name in _ELEMENT.findall(beginning)[:_FIRST_ELEMENTS]]
    root = elements[0] if elements else ""
    if not _ERROR.fullmatch(root) and any(map(_INVOICE.fullmatch, elements)):
        return "XML" if suffix in _BINARY else ""
    if any(map(_ERROR.fullmatch, elements[:2])):
        return "an error in XML"
    if _WRAPPER.fullmatch(root) and any(map(_ERROR_FIELD.fullmatch, elements[1:])):
        return "an error in XML"
    return "" if suffix == ".xml" and _ELEMENT.match(beginning) else "XML"
