"""XML of unknown origin as a small tree: without document types and entities, of bounded size and depth.

The parsers of the standard library do not read GBK, in which some issuers write, so a file is decoded here first.
Prefixes are not resolved: dialects differ in their namespaces, and elements are matched by local name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NoReturn
from xml.parsers import expat

from ekb_async.einvoice.limits import LIMITS

_DECLARED = re.compile(rb"""^\s{0,20}<\?xml[^>]{0,200}?encoding\s{0,9}=\s{0,9}["']([A-Za-z0-9._-]{1,40})["']""")
_BYTE_ORDER_MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
_CHINESE = {"gbk", "gb2312", "gb18030", "cp936", "gb-2312", "x-gbk"}
_MOST_BROKEN = 3
"""Bytes that may be damaged in UTF-8; more are another encoding."""
_SKIPPED = "Signature"


class Node:
    """An element: its local name, prefix, text without that of its children, and children."""

    __slots__ = ("attributes", "children", "name", "prefix", "text")

    def __init__(self, name: str, attributes: dict[str, str]) -> None:
        self.prefix, _, self.name = name.rpartition(":")
        self.attributes = attributes
        self.text = ""
        self.children: list[Node] = []

    def child(self, *path: str) -> Node | None:
        """Return the first element at a path of local names below this one."""
        node: Node | None = self
        for name in path:
            node = next((each for each in node.children if each.name == name), None) if node else None
        return node

    def value(self, *path: str) -> str | None:
        """Return the text at a path; None if it is missing or empty."""
        node = self.child(*path)
        return (node.text.strip() or None) if node else None

    def walk(self) -> Iterator[Node]:
        """Yield this element and all below it, in the order of the file."""
        waiting: list[Node] = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(reversed(node.children))

    def first(self, name: str) -> Node | None:
        """Return the first element with this local name, at any depth."""
        return next((node for node in self.walk() if node.name == name), None)


def parse(data: bytes) -> Node:
    """Return the root element. Raises `ValueError` for what is refused, and `ExpatError` for what is no XML."""
    if len(data) > LIMITS.xml_bytes:
        raise ValueError("this XML is too large")
    builder = _Builder()
    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.text
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = _refuse
    parser.Parse(in_utf8(data), True)
    if builder.root is None:
        raise ValueError("this XML is empty")
    return builder.root


def in_utf8(data: bytes) -> bytes:
    """Return XML in UTF-8 without a byte order mark; bytes that are damaged become U+FFFD."""
    for mark, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace").encode()
    declared = _DECLARED.match(data)
    if declared and declared[1].decode().lower() in _CHINESE:
        return data.decode("gb18030", "replace").encode()
    try:
        data.decode()
    except UnicodeDecodeError:
        text = data.decode("utf-8", "replace")
        if text.count("\ufffd") > _MOST_BROKEN:
            text = data.decode("gb18030", "replace")
        return text.encode()
    return data


class _Builder:
    """Builds the tree from the events of expat."""

    def __init__(self) -> None:
        self.root: Node | None = None
        self._open: list[Node] = []
        self._nodes = 0
        self._skipped_depth = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._nodes += 1
        if self._nodes > LIMITS.xml_nodes or len(self._open) + self._skipped_depth >= LIMITS.xml_depth:
            raise ValueError("this XML has too many elements, or too deep ones")
        if self._skipped_depth or name.rpartition(":")[2] == _SKIPPED:
            self._skipped_depth += 1
            return
        node = Node(name, attributes)
        if self._open:
            self._open[-1].children.append(node)
        else:
            self.root = node
        self._open.append(node)

    def end(self, _: str) -> None:
        if self._skipped_depth:
            self._skipped_depth -= 1
        else:
            self._open.pop()

    def text(self, text: str) -> None:
        if self._open and not self._skipped_depth:
            node = self._open[-1]
            node.text = node.text + text if node.text else text


def _refuse(*_: object) -> NoReturn:
    raise ValueError("this XML has a document type or entities, which no invoice has")
