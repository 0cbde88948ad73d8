"""Safe names for files whose names come from outside.

The vendor passes on the name under which a file was once uploaded: it may be empty, a path, a device of Windows, far
too long, or the same for a thousand invoices. A file here is named `<stem>-<mark><suffix>`: stem and suffix are the
vendor's as far as every system accepts them, the mark is the first 16 hexadecimal digits of the invoice ID's SHA-256.
So names are unique without reading the directory, however a file system treats case and Unicode forms, and the same in
every run.

Pure: nothing here accesses a disk.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

from ekb_async.storage.limits import LIMITS

_MARK_DIGITS = 16
_NO_NAME = "invoice"
_SEPARATORS = "\\/"
_SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in (
        *("pdf", "ofd", "xml", "zip", "rar", "7z", "eml", "txt", "doc", "docx", "xls", "xlsx"),
        *("jpg", "jpeg", "png", "gif", "bmp", "tif", "tiff", "webp", "heic"),
    )
)
"""Suffixes that a file may keep. With any other, opening the file might execute it."""
_FORBIDDEN = frozenset('<>:"|?*')
# At the ends of a name these hide the file, get lost on Windows, or look like an option of a command.
_NOT_AT_THE_ENDS = " .-"
DEVICE = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³])", re.IGNORECASE)
"""What Windows takes for a device, with any suffix."""


def file_name(invoice_id: str, vendor_name: str) -> str:
    """Return the name for an invoice's file: always one plain segment of a path, at most 240 bytes of UTF-8."""
    name = vendor_name[max(map(vendor_name.rfind, _SEPARATORS)) + 1 :]
    # The time of composing grows with the square of the combining marks on one letter.
    if len(name) > LIMITS.vendor_name_characters:
        name = name[: LIMITS.vendor_name_characters] + name[-LIMITS.suffix_characters :]
    # Composed before it is truncated, so that the same name in another Unicode form is truncated at the same place.
    name = unicodedata.normalize("NFC", name).rstrip(" .")
    stem, dot, end = name.rpartition(".")
    suffix = dot + end
    if suffix.lower() not in _SUFFIXES:
        stem, suffix = name, ""
    mark = hashlib.sha256(invoice_id.encode()).hexdigest()[:_MARK_DIGITS]
    room = LIMITS.file_name_bytes - len(f"_-{mark}{suffix}")
    stem = "".join(character if is_plain(character) else "_" for character in stem).strip(_NOT_AT_THE_ENDS)
    stem = stem.encode()[:room].decode(errors="ignore").rstrip(_NOT_AT_THE_ENDS) or _NO_NAME
    # A device name counts with any suffix, so the mark does not help where the stem contains a dot.
    if DEVICE.fullmatch(stem.partition(".")[0].rstrip()):
        stem = f"_{stem}"
    return f"{stem}-{mark}{suffix}"


def is_plain(character: str) -> bool:
    """Return whether a character may be in the name of a file on every system."""
    # An unprintable character may end a text, reverse its direction, or have no encoding.
    return character.isprintable() and character not in _FORBIDDEN
