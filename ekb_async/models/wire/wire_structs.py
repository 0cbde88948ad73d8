"""Wire structs: the values of the wire fields that a model knows, as the vendor's JSON has them.

A whole reply is decoded in one pass, parts and all, as long as every value is of the type it is documented with. Where
one is not, is damaged or out of range, the object that holds it is read member by member, its parts likewise, so that
an odd value costs itself and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import Any, get_args, get_origin

import msgspec
from msgspec import Raw

from ekb_async.models.wire import coerce
from ekb_async.models.wire.envelope import (
    MISSING,
    MOST_ENTRIES,
    NOT_JSON,
    check_count,
    entries,
    json_of,
    required_list,
    required_object,
    value_decoder,
)
from ekb_async.models.wire.fields import TEXT, Declaration, decoded, fields_of
from ekb_async.redaction.masking import HiddenRepr


class Wire(HiddenRepr, msgspec.Struct, gc=False):
    """The values of the wire fields that a model knows; None for those the vendor left out."""


def wire_type(model: type[Declaration]) -> type[Wire]:
    """A struct with each wire field of the model, in the JSON type that it is documented with, and with its parts."""
    return _struct(model.wire_models())


@cache
def _struct(models: tuple[type[Declaration], ...]) -> type[Wire]:
    kinds: dict[str, Any] = {}
    declared = [fields_of(model) for model in models]  # type: ignore[arg-type]  # a class is hashable
    for field in (field for fields in declared for field in fields.values() if field.wire):
        kind = Raw if field.deferred else field.wire_type
        known = kinds.setdefault(field.wire, kind)
        # Of several attributes on one wire field, the one with the narrowest type of what is decoded at once decides.
        if known is Raw or (known is Any and kind is not Raw):
            kinds[field.wire] = kind
    parts = [(name, *_part(part)) for name, part in models[0].parts.items()]
    struct: type[Wire] = wire_struct(models[0].__name__, kinds, parts)
    return struct


def wire_struct(name: str, kinds: dict[str, Any], parts: list[tuple[str, Any, Any]]) -> Any:
    """A wire struct with these fields, and with parts given by name, JSON type and default.

    The fields of a form are in the order of the vendor's database, which has shorter names first: msgspec finds a name
    at once where it is the one behind the name before.
    """
    members = [(name, kinds[name], None) for name in sorted(kinds, key=_place_in_form)]
    return msgspec.defstruct(f"{name}Wire", [*parts, *members], bases=(Wire,), gc=False)


def _place_in_form(name: str) -> tuple[int, str]:
    return (len(name.encode()), name) if name.startswith("E_") else (0, "")


def _part(part: Any) -> tuple[Any, Any]:
    """The JSON type and the default of a part that is a model, a list of models, or decoded later."""
    if part is Raw:
        return Raw, MISSING
    if get_origin(part) is list:
        (model,) = get_args(part)
        return list[wire_type(model)] | None, None  # type: ignore[misc]  # the struct is made at run time
    return wire_type(part) | None, None


def wire_of(kind: type[Wire], raw: Raw) -> Any:
    """The wire fields of `raw`; all missing if it is no object."""
    try:
        return value_decoder(kind)(raw)
    except NOT_JSON:
        uncut, readers = _member_readers(kind)
    wire = kind()
    try:
        found = uncut(raw)
    except NOT_JSON:
        return wire
    for name, read in readers.items():
        value = getattr(found, name)
        if value is not MISSING:
            setattr(wire, name, read(value))
    return wire


def wires_of(kind: type[Wire], raw: Raw) -> list[Any]:
    """The wire fields of each entry of a list; none if it is no list."""
    try:
        return value_decoder(list[kind])(raw)  # type: ignore[valid-type, no-any-return]  # made at run time
    except NOT_JSON:
        return [wire_of(kind, entry) for entry in entries(raw)]


@cache
def _member_readers(kind: type[Wire]) -> tuple[Callable[[Raw], Any], dict[str, Callable[[Raw], object]]]:
    """A decoder that leaves every member as it is, and what reads each of them."""
    fields = msgspec.structs.fields(kind)
    uncut = msgspec.defstruct("Uncut", [(field.name, Raw, MISSING) for field in fields], gc=False)
    return value_decoder(uncut), {field.name: _member_reader(field.type) for field in fields}


def _member_reader(kind: Any) -> Callable[[Raw], object]:
    if kind is Raw:
        return lambda raw: raw
    if kind == TEXT:
        return lambda raw: coerce.text(decoded(TEXT, raw))
    part = next(iter(get_args(kind)), None)
    if get_origin(part) is list:
        return partial(wires_of, *get_args(part))
    if isinstance(part, type) and issubclass(part, Wire):
        return partial(wire_of, part)
    return partial(decoded, kind)


def items_reader(
    kind: type[Wire], read_entry: Callable[[Raw], Any] | None = None
) -> Callable[[bytes | Raw], list[Any]]:
    """What reads a reply `{"items": [...]}`, raising `ResponseError` if it is none.

    Where something is not as documented, entries are read one by one, by `read_entry` if that is given.
    """
    singly = read_entry or partial(wire_of, kind)
    decode = value_decoder(msgspec.defstruct("Reply", [("items", list[kind])]))  # type: ignore[valid-type]  # as above

    def read(body: bytes | Raw) -> list[Any]:
        try:
            items: list[Any] = decode(body).items
        except NOT_JSON:
            return [singly(entry) for entry in required_list(json_of(body), "items")]
        if len(items) > MOST_ENTRIES:
            check_count(items)
        return items

    return read


def value_reader(kind: type[Wire], listed: Callable[[Raw], list[Raw]] | None = None) -> Callable[[bytes | Raw], Any]:
    """What reads a reply `{"value": {...}}`, raising `ResponseError` if it is none.

    `listed` finds the list in it whose entries become models, if there is one.
    """
    decode = value_decoder(msgspec.defstruct("Reply", [("value", kind)]))

    def read(body: bytes | Raw) -> Any:
        try:
            return decode(body).value
        except NOT_JSON:
            value = required_object(reply := json_of(body), "value")
            if listed is not None:
                check_count(listed(reply))
            return wire_of(kind, value)

    return read


def override(wire: Wire, outer: Wire, names: Iterable[str]) -> None:
    """Give `wire` those of the named fields that `outer` has."""
    for name in names:
        value = getattr(outer, name)
        if value is not None and value is not MISSING:
            setattr(wire, name, value)
