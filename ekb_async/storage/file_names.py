"""Names for files whose names come from elsewhere.

The vendor passes on what someone once called an upload: it may be empty, a path, a device of Windows, far too long, or
the same for a thousand invoices. A file here is called `<stem>-<mark><suffix>`: stem and suffix are the vendor's as far
as any system takes them, the mark is 16 hexadecimal digits of the invoice ID's SHA-256. So names are unique without a
look at the directory, whatever a file system makes of case and Unicode forms, and the same in every run.

Pure: nothing here touches a disk.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

MAX_NAME_BYTES = 240
"""Bytes of a name in UTF-8; file systems take 255, and copies get endings of their own."""

_LONGEST, _LONGEST_SUFFIX = 1_000, 10
_MARK_DIGITS = 16
_NO_NAME = "invoice"
_SEPARATORS = "\\/"
_SUFFIXES = frozenset(
    f".{ending}"
    for ending in (
        *("pdf", "ofd", "xml", "zip", "rar", "7z", "eml", "txt", "doc", "docx", "xls", "xlsx"),
        *("jpg", "jpeg", "png", "gif", "bmp", "tif", "tiff", "webp", "heic"),
    )
)
"""Endings that a file may keep. With any other it might be run when somebody opens it."""
_FORBIDDEN = frozenset('<>:"|?*')
# At the ends of a name these hide it, get lost on Windows, or look like an option of a command.
_NOT_AT_THE_ENDS = " .-"
_DEVICE = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³])", re.IGNORECASE)


def file_name(invoice_id: str, vendor_name: str) -> str:
    """The name under which an invoice's file is kept: always one plain segment of a path, at most 240 bytes."""
    # Composed first, so that the same name in another Unicode form is cut at the same place.
    name = vendor_name[max(map(vendor_name.rfind, _SEPARATORS)) + 1 :]
    # Composing takes time with the square of the marks that stand on one letter.
    if len(name) > _LONGEST:
        name = name[:_LONGEST] + name[-_LONGEST_SUFFIX:]
    name = unicodedata.normalize("NFC", name).rstrip(" .")
    stem, dot, end = name.rpartition(".")
    suffix = dot + end
    if suffix.lower() not in _SUFFIXES:
        stem, suffix = name, ""
    mark = hashlib.sha256(invoice_id.encode()).hexdigest()[:_MARK_DIGITS]
    room = MAX_NAME_BYTES - len(f"_-{mark}{suffix}")
    stem = "".join(character if _is_plain(character) else "_" for character in stem).strip(_NOT_AT_THE_ENDS)
    stem = stem.encode()[:room].decode(errors="ignore").rstrip(_NOT_AT_THE_ENDS) or _NO_NAME
    # A device is one with any ending, so the mark does not help where the stem has a dot of its own.
    if _DEVICE.fullmatch(stem.partition(".")[0].rstrip()):
        stem = f"_{stem}"
    return f"{stem}-{mark}{suffix}"


def _is_plain(character: str) -> bool:
    # What is not printable may end a text, write it backwards, or have no bytes at all.
    return character.isprintable() and character not in _FORBIDDEN
