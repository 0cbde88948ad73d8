"""The base of everything the vendor answers with: typed attributes over the vendor's own bytes.

A model keeps the values of the wire fields it knows, as the vendor's JSON has them, and reads one as its type when the
attribute is asked. So a value of the wrong type can fail nothing but itself, what nobody reads costs next to nothing,
and decoding skips the schema that fills most of a reply. Fields are declared once, as `name = text("wire name")`; type
checkers see the type that the attribute has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, datetime
from decimal import Decimal
from functools import cache, partial
from operator import attrgetter
from typing import Any, ClassVar, Generic, Self, TypeVar, overload

import msgspec
from msgspec import Raw

from ekb_async.models import readings
from ekb_async.models.envelope import MISSING, NOT_JSON, json_of, value_decoder, value_of

V = TypeVar("V")


class Field(Generic[V]):
    """An attribute read from the wire field `wire`; always None where `wire` is "" (the kind has no such field)."""

    __slots__ = ("_get", "read", "wire", "wire_type")

    def __init__(self, wire: str, read: Callable[[object], V | None], wire_type: Any = Any) -> None:
        self.wire = wire
        self.read = read
        self.wire_type = wire_type
        self._get: Callable[[Model], object] = attrgetter(f"_wire.{wire}") if wire else _nothing

    @overload
    def __get__(self, model: None, owner: type) -> Self: ...
    @overload
    def __get__(self, model: Model, owner: type) -> V | None: ...
    def __get__(self, model: Model | None, owner: type) -> Self | V | None:
        return self if model is None else self.read(self._get(model))


def _nothing(_: Model) -> None:
    return None


def text(wire: str = "") -> Field[str]:
    """Text; "" if the vendor left it empty."""
    return Field(wire, readings.text)


def texts(wire: str = "") -> Field[list[str]]:
    """A list of texts."""
    return Field(wire, readings.texts)


def money(wire: str = "") -> Field[Decimal]:
    """Money, in the currency that the model's `currency` names."""
    return Field(wire, readings.amount, readings.Money | str | int | None)


def numeric(wire: str = "") -> Field[Decimal]:
    """A number that is no money."""
    return Field(wire, readings.number)


def whole(wire: str = "") -> Field[int]:
    """A count."""
    return Field(wire, readings.whole)


def rate(wire: str = "") -> Field[Decimal]:
    """A rate as a fraction: 0.06 for 6 %."""
    return Field(wire, readings.rate)


def flag(wire: str = "") -> Field[bool]:
    """A switch."""
    return Field(wire, readings.flag)


def negated(wire: str = "") -> Field[bool]:
    """A switch that the vendor has the other way round."""
    return Field(wire, readings.negated)


def day(wire: str = "") -> Field[date]:
    """A date at UTC+8."""
    return Field(wire, readings.day)


def moment(wire: str = "") -> Field[datetime]:
    """A point in time at UTC+8."""
    return Field(wire, readings.moment)


def box(wire: str = "") -> Field[list[float]]:
    """Left, top, right, bottom on the image, in pixels."""
    return Field(wire, readings.box)


def angle(wire: str = "") -> Field[float]:
    """Degrees by which the invoice is turned on the image."""
    return Field(wire, readings.angle)


class Lines(msgspec.Struct):
    """A reply's bytes, cut into the entries of its list when the first of them is asked for."""

    _body: bytes
    _cut: Callable[[bytes], list[Raw]]
    _lines: list[Raw] | None = None

    def __repr__(self) -> str:
        return type(self).__name__

    def line(self, index: int) -> bytes:
        """One entry, as it was sent."""
        if self._lines is None:
            self._lines = self._cut(self._body)
        return bytes(self._lines[index])


class Model(msgspec.Struct, frozen=True, eq=False):
    """What the vendor answered, or a part of it.

    `raw` is the JSON it was decoded from, `to_dict()` its values under English names. Two are equal when all their
    values are. Pickling keeps `raw` and nothing else of the reply.
    """

    _wire: Any
    _cut_raw: Callable[[], bytes]

    shown: ClassVar[tuple[str, ...]] = ()
    """The attributes in the `repr`."""
    derived: ClassVar[tuple[str, ...]] = ()
    """Attributes that are no wire fields and belong in `to_dict()`."""
    parts: ClassVar[tuple[str, ...]] = ()
    """Wire fields that hold models of their own."""

    @classmethod
    def from_raw(cls, raw: bytes) -> Self:
        """The model that has `raw` as its JSON; raises `ResponseError` if that is no JSON."""
        return cls._from(json_of(raw))

    @classmethod
    def _from(cls, raw: Raw) -> Self:
        return cls(wire_of(cls, raw), partial(bytes, raw))

    @property
    def raw(self) -> bytes:
        """The JSON bytes as the vendor sent them, to the byte.

        A line of a list keeps its whole reply alive for this, and the first one asked cuts the reply into its lines.
        """
        return self._cut_raw()

    def to_dict(self) -> dict[str, Any]:
        """The values under their English names, ready for JSON: Decimal as text, dates and times in ISO 8601."""
        return {name: _plain(value) for name, value in self._values()}

    def _values(self) -> Iterator[tuple[str, object]]:
        for name in (*fields_of(type(self)), *self.derived):
            yield name, getattr(self, name)

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other) or not isinstance(other, Model):
            return NotImplemented
        return all(mine == theirs for mine, theirs in zip(self._values(), other._values(), strict=True))

    def __ne__(self, other: object) -> bool:
        # The base class has one of its own, which does not ask `__eq__`.
        equal = self.__eq__(other)
        return equal if equal is NotImplemented else not equal

    __hash__ = None  # type: ignore[assignment]  # equal values may come from different bytes

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({shown})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        shown = ((name, getattr(self, name)) for name in self.shown)
        return [(name, value) for name, value in shown if value is not None]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).from_raw, (self.raw,)


class MonetaryModel(Model, frozen=True, eq=False):
    """A model with amounts of money, whose currency stands beside them."""

    derived: ClassVar[tuple[str, ...]] = ("currency",)

    @property
    def currencies(self) -> set[str]:
        """Currency codes of the amounts, as far as the vendor names any."""
        amounts = (getattr(self._wire, wire) for wire in _money_wires(type(self)))
        return {code for amount in amounts if (code := readings.currency(amount)) is not None}

    @property
    def currency(self) -> str | None:
        """Currency code of the amounts, such as `CNY`; None if the vendor names none, or not the same for all."""
        codes = self.currencies
        return codes.pop() if len(codes) == 1 else None


@cache
def fields_of(model: type[Model]) -> dict[str, Field[Any]]:
    """The declared fields by attribute name, those of the base class first."""
    found: dict[str, Field[Any]] = {}
    for cls in reversed(model.__mro__):
        found |= {name: value for name, value in vars(cls).items() if isinstance(value, Field)}
    return found


@cache
def _money_wires(model: type[Model]) -> set[str]:
    return {field.wire for field in fields_of(model).values() if field.wire and field.read is readings.amount}


class _Wire(msgspec.Struct, gc=False):
    """The values of the wire fields that a model knows; None for those the vendor left out."""

    def __repr__(self) -> str:
        return type(self).__name__


@cache
def wire_type(model: type[Model]) -> type[msgspec.Struct]:
    """A struct with each wire field of the model, in the JSON types that its reading is made for."""
    types = {field.wire: field.wire_type for field in fields_of(model).values() if field.wire}
    fields: list[Any] = [(name, kind, None) for name, kind in types.items() if name not in model.parts]
    fields += [(name, Raw, MISSING) for name in model.parts]
    return msgspec.defstruct(f"{model.__name__}Wire", fields, bases=(_Wire,), gc=False)


@cache
def _wire_decoder(model: type[Model]) -> Callable[[Raw], msgspec.Struct]:
    return value_decoder(wire_type(model))


@cache
def _single_decoders(model: type[Model]) -> tuple[Callable[[Raw], Any], dict[str, Callable[[Raw], object]]]:
    """A decoder that leaves every field as it is, and one for each of them."""
    fields = msgspec.structs.fields(wire_type(model))
    uncut = msgspec.defstruct("Uncut", [(field.name, Raw, MISSING) for field in fields], gc=False)
    return value_decoder(uncut), {field.name: value_decoder(field.type) for field in fields}


def wire_of(model: type[Model], raw: Raw) -> Any:
    """The wire fields of `raw`; all missing if it is no object.

    Where one of them is of an odd type, damaged or out of range, all are read singly, and that one is None at worst.
    """
    try:
        return _wire_decoder(model)(raw)
    except NOT_JSON:
        uncut, decoders = _single_decoders(model)
    wire = wire_type(model)()
    try:
        found = uncut(raw)
    except NOT_JSON:
        return wire
    for name, decode in decoders.items():
        value = getattr(found, name)
        if value is not MISSING:
            setattr(wire, name, _single(decode, value))
    return wire


def _single(decode: Callable[[Raw], object], raw: Raw) -> object:
    try:
        return decode(raw)
    except NOT_JSON:
        return value_of(raw)


def fill(wire: msgspec.Struct, inner: msgspec.Struct) -> None:
    """Give `wire` the fields that it misses and `inner` has."""
    for name in wire.__struct_fields__:
        value = getattr(wire, name)
        if value is None or value is MISSING:
            setattr(wire, name, getattr(inner, name))


def _plain(value: object) -> object:
    match value:
        case Model():
            return value.to_dict()
        case [Model(), *_]:
            return [_plain(item) for item in value]
        case Decimal():
            return readings.plain(value)
        case _:
            return msgspec.to_builtins(value)
