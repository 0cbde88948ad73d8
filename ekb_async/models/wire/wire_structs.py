"""Wire structs: the JSON values of a model's wire fields.

A whole reply, including the parts of its models, is decoded in one pass if every value has its documented type. If a
value has another type, is damaged or out of range, the object that contains it is decoded member by member, and so are
its parts. So an unexpected value affects no other value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import Annotated, Any, get_args, get_origin

import msgspec
from msgspec import Raw

from ekb_async.models.wire import coerce
from ekb_async.models.wire.envelope import (
    MISSING,
    NOT_JSON,
    check_count,
    entries,
    json_of,
    required_list,
    required_object,
    value_decoder,
)
from ekb_async.models.wire.fields import TEXT, Declaration, fields_of, tolerant_decoder
from ekb_async.models.wire.limits import LIMITS
from ekb_async.redaction.masking import HiddenRepr


class Wire(HiddenRepr, msgspec.Struct, gc=False):
    """Base class of wire structs: one attribute per wire field, None if the vendor left it out."""


def wire_type(model: type[Declaration], only: frozenset[str] | None = None) -> type[Wire]:
    """Return a struct with the parts of the model and each wire field in its documented JSON type.

    With `only`, it has the wire fields of these attributes alone, and none is deferred.
    """
    return _struct(model.wire_models(), only)


@cache
def _struct(models: tuple[type[Declaration], ...], only: frozenset[str] | None) -> type[Wire]:
    kinds: dict[str, Any] = {}
    declared = [fields_of(model) for model in models]  # type: ignore[arg-type]  # a class is hashable
    for name, field in ((name, field) for fields in declared for name, field in fields.items() if field.wire):
        if only is not None and name not in only:
            continue
        kind = Raw if field.deferred and only is None else field.wire_type
        known = kinds.setdefault(field.wire, kind)
        # If several attributes share a wire field, the narrowest type that is decoded with the reply applies.
        if known is Raw or (known is Any and kind is not Raw):
            kinds[field.wire] = kind
    parts = [(name, *_part(part, only)) for name, part in models[0].parts.items()]
    struct: type[Wire] = wire_struct(models[0].__name__, kinds, parts)
    return struct


def wire_struct(name: str, kinds: dict[str, Any], parts: list[tuple[str, Any, Any]]) -> Any:
    """Return a wire struct with these fields (name to JSON type) and parts (name, JSON type, default).

    The fields of a form are in the order of the vendor's database, shorter names first: msgspec finds a name at once if
    it follows the name before in the struct as well.
    """
    members = [(name, kinds[name], None) for name in sorted(kinds, key=_form_order)]
    return msgspec.defstruct(f"{name}Wire", [*parts, *members], bases=(Wire,), gc=False)


def _form_order(name: str) -> tuple[int, str]:
    return (len(name.encode()), name) if name.startswith("E_") else (0, "")


def _part(part: Any, only: frozenset[str] | None) -> tuple[Any, Any]:
    """Return the JSON type and the default of a part: a model, a list of models, or Raw if it is decoded later."""
    if part is Raw:
        return Raw, MISSING
    if get_origin(part) is list:
        (model,) = get_args(part)
        return list[wire_type(model, only)] | None, None  # type: ignore[misc]  # the struct is made at run time
    return wire_type(part, only) | None, None


def wire_of(kind: type[Wire], raw: Raw) -> Any:
    """Return the wire fields of `raw`; all are missing if it is not an object."""
    try:
        return value_decoder(kind)(raw)
    except NOT_JSON:
        decode_raw_members, readers = _member_readers(kind)
    wire = kind()
    try:
        found = decode_raw_members(raw)
    except NOT_JSON:
        return wire
    for name, read in readers.items():
        value = getattr(found, name)
        if value is not MISSING:
            setattr(wire, name, read(value))
    return wire


def wire_list_of(kind: type[Wire], raw: Raw) -> list[Any]:
    """Return the wire fields of each entry of a list; an empty list if `raw` is not a list."""
    try:
        return value_decoder(list[kind])(raw)  # type: ignore[valid-type, no-any-return]  # made at run time
    except NOT_JSON:
        return [wire_of(kind, entry) for entry in entries(raw)]


@cache
def _member_readers(kind: type[Wire]) -> tuple[Callable[[Raw], Any], dict[str, Callable[[Raw], object]]]:
    """Return a decoder that leaves each member undecoded, and a reader for each of them."""
    fields = msgspec.structs.fields(kind)
    raw_members = msgspec.defstruct("RawMembers", [(field.name, Raw, MISSING) for field in fields], gc=False)
    return value_decoder(raw_members), {field.name: _member_reader(field.type) for field in fields}


def _member_reader(kind: Any) -> Callable[[Raw], object]:
    if kind is Raw:
        return lambda raw: raw
    part = next(iter(get_args(kind)), None)
    if get_origin(part) is list:
        return partial(wire_list_of, *get_args(part))
    if isinstance(part, type) and issubclass(part, Wire):
        return partial(wire_of, part)
    decode = tolerant_decoder(kind)
    return decode if kind != TEXT else lambda raw: coerce.text(decode(raw))


def items_reader(
    kind: type[Wire], read_entry: Callable[[Raw], Any] | None = None
) -> Callable[[bytes | Raw], list[Any]]:
    """Return a reader of replies `{"items": [...]}` that raises `ResponseError` for any other reply.

    If anything is not as documented, entries are decoded one by one, by `read_entry` if it is given.
    """
    read_one = read_entry or partial(wire_of, kind)
    items = Annotated[list[kind], msgspec.Meta(max_length=LIMITS.max_list_entries)]  # type: ignore[valid-type]  # as above
    decode = value_decoder(msgspec.defstruct("Reply", [("items", items)], gc=False))

    def read(body: bytes | Raw) -> list[Any]:
        try:
            return decode(body).items  # type: ignore[no-any-return]  # the struct is made at run time
        except NOT_JSON:
            return [read_one(entry) for entry in required_list(json_of(body), "items")]

    return read


def value_reader(kind: type[Wire], listed: Callable[[Raw], list[Raw]] | None = None) -> Callable[[bytes | Raw], Any]:
    """Return a reader of replies `{"value": {...}}` that raises `ResponseError` for any other reply.

    `listed` returns the list in the reply whose entries become models, if there is one.
    """
    decode = value_decoder(msgspec.defstruct("Reply", [("value", kind)], gc=False))

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
    """Set those of the named fields of `wire` that `outer` has."""
    for name in names:
        value = getattr(outer, name)
        if value is not None and value is not MISSING:
            setattr(wire, name, value)
