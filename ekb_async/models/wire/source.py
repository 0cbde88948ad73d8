"""The bytes of a reply, from which those of a model are sliced on access."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import msgspec
from msgspec import Raw

from ekb_async.models.wire.envelope import entries, json_of, member
from ekb_async.redaction.masking import HiddenRepr, Secrets

JsonPath: TypeAlias = tuple[int | str, ...]
"""Path of a model in its reply: the index in the reply's list, if there is one, and names of members from there."""


def in_items(reply: Raw) -> list[Raw]:
    """Return the list of a reply `{"items": [...]}`."""
    return entries(member(reply, "items"))


def in_invoices(reply: Raw) -> list[Raw]:
    """Return the list of a reply `{"value": {"invoices": [...]}}`."""
    return entries(member(member(reply, "value"), "invoices"))


class Source(HiddenRepr, msgspec.Struct, gc=False):
    """The bytes of a reply, split into the entries of its list when the first of them is accessed."""

    _body: bytes | Raw
    _split: Callable[[Raw], list[Raw]] = entries
    _entries: list[Raw] | None = None
    secrets: Secrets | None = None
    """The secrets of the call."""

    def slice(self, path: JsonPath) -> bytes:
        """Return the JSON at a path, exactly as it was sent."""
        match path:
            case [int(index), *names]:
                raw = self._entry(index)
            case names:
                raw = json_of(self._body)
        for name in names:
            raw = member(raw, str(name))
        return bytes(raw)

    def _entry(self, index: int) -> Raw:
        if self._entries is None:
            self._entries = self._split(json_of(self._body))
        return self._entries[index]
