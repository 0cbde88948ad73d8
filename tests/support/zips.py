"""ZIP archives for tests, with names in any bytes and entries of any kind."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterable
from typing import Any

Entry = tuple[str | bytes, bytes]


def zipped(entries: Iterable[Entry], **attributes: Any) -> bytes:
    """Return a ZIP archive. A name in bytes is written as it is, without the mark for UTF-8."""
    raw: dict[bytes, bytes] = {}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, (name, content) in enumerate(entries):
            plain = name if isinstance(name, str) else _stand_in(number, len(name))
            if isinstance(name, bytes):
                raw[plain.encode()] = name
            info = zipfile.ZipInfo(plain, (2024, 5, 6, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            for attribute, value in attributes.items():
                setattr(info, attribute, value)
            archive.writestr(info, content)
    data = file.getvalue()
    for stand_in_bytes, wanted in raw.items():
        data = data.replace(stand_in_bytes, wanted)
    return data


def _stand_in(number: int, length: int) -> str:
    return f"{number:0{length}}"[-length:].translate(str.maketrans("0123456789", "ghijklmnop"))


def encrypted(data: bytes) -> bytes:
    """Return a ZIP archive whose entries are marked as encrypted."""
    changed = bytearray(data)
    for mark, offset in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        at = changed.find(mark)
        while at >= 0:
            (flags,) = struct.unpack_from("<H", changed, at + offset)
            struct.pack_into("<H", changed, at + offset, flags | 1)
            at = changed.find(mark, at + 4)
    return bytes(changed)
