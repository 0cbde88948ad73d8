"""The bytes of a reply, out of which a model's own are cut only when somebody asks for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import msgspec
from msgspec import Raw

from ekb_async.models.wire.envelope import entries, json_of, member
from ekb_async.redaction.masking import HiddenRepr, Secrets

JsonPath: TypeAlias = tuple[int | str, ...]
"""The way to a model in its reply: the index in the reply's list, if it has one, and names of members from there."""


def in_items(reply: Raw) -> list[Raw]:
    """The list of a reply `{"items": [...]}`."""
    return entries(member(reply, "items"))


def in_invoices(reply: Raw) -> list[Raw]:
    """The list of a reply `{"value": {"invoices": [...]}}`."""
    return entries(member(member(reply, "value"), "invoices"))


class Source(HiddenRepr, msgspec.Struct):
    """A reply's bytes, cut into the entries of its list when the first of them is asked for."""

    _body: bytes | Raw
    _cut_list: Callable[[Raw], list[Raw]] = entries
    _entries: list[Raw] | None = None
    secrets: Secrets | None = None
    """Those of the call."""

    def slice(self, place: JsonPath) -> bytes:
        """The JSON at a place, as it was sent."""
        match place:
            case [int(index), *names]:
                raw = self._entry(index)
            case names:
                raw = json_of(self._body)
        for name in names:
            raw = member(raw, str(name))
        return bytes(raw)

    def _entry(self, index: int) -> Raw:
        if self._entries is None:
            self._entries = self._cut_list(json_of(self._body))
        return self._entries[index]
