"""The base of everything the vendor answers with: typed attributes over the vendor's own bytes.

A model keeps the JSON it came from, cut by msgspec into one `Raw` per field it knows, and reads a value when its
attribute is asked. So a value of the wrong type can fail nothing but itself, what nobody reads costs nothing, and
decoding skips the schema that fills most of a reply. Fields are declared once, as `name = text("wire name")`; type
checkers see the type that the attribute has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from typing import Any, ClassVar, Generic, Self, TypeVar, overload

import msgspec
from msgspec import Raw

from ekb_async.models import readings
from ekb_async.models.envelope import MISSING, NOT_JSON, document, value_of

V = TypeVar("V")


class Field(Generic[V]):
    """An attribute read from the wire field `wire`; always None where `wire` is "" (the kind has no such field)."""

    __slots__ = ("read", "wire")

    def __init__(self, wire: str, read: Callable[[object], V | None]) -> None:
        self.wire = wire
        self.read = read

    @overload
    def __get__(self, model: None, owner: type) -> Self: ...
    @overload
    def __get__(self, model: Model, owner: type) -> V | None: ...
    def __get__(self, model: Model | None, owner: type) -> Self | V | None:
        if model is None:
            return self
        raw = getattr(model._wire, self.wire, MISSING)
        return None if raw is MISSING else self.read(value_of(raw))


def text(wire: str = "") -> Field[str]:
    """Text; "" if the vendor left it empty."""
    return Field(wire, readings.text)


def texts(wire: str = "") -> Field[list[str]]:
    """A list of texts."""
    return Field(wire, readings.texts)


def money(wire: str = "") -> Field[Decimal]:
    """Money, in the currency that the model's `currency` names."""
    return Field(wire, readings.amount)


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


class Items:
    """A reply's bytes, cut into the items of its list when the first of them is asked for."""

    __slots__ = ("_body", "_cut", "_items")

    def __init__(self, body: bytes, cut: Callable[[bytes], list[Raw]]) -> None:
        self._body = body
        self._cut = cut
        self._items: list[Raw] | None = None

    def __getitem__(self, index: int) -> Raw:
        if self._items is None:
            self._items = self._cut(self._body)
        return self._items[index]


class Model(msgspec.Struct, frozen=True, eq=False):
    """What the vendor answered, or a part of it.

    `raw` is the JSON it was decoded from, `to_dict()` its values under English names. Two are equal when all their
    values are. Pickling keeps `raw` and nothing else of the reply.
    """

    _wire: Any
    _source: Raw | Items
    _index: int = 0

    shown: ClassVar[tuple[str, ...]] = ()
    """The attributes in the `repr`."""
    derived: ClassVar[tuple[str, ...]] = ()
    """Attributes that are no wire fields and belong in `to_dict()`."""
    parts: ClassVar[tuple[str, ...]] = ()
    """Wire fields that hold models of their own."""

    @classmethod
    def from_raw(cls, raw: bytes) -> Self:
        """The model that has `raw` as its JSON; raises `ResponseError` if that is no JSON."""
        return cls._from(document(raw))

    @classmethod
    def _from(cls, raw: Raw) -> Self:
        return cls(wire_of(cls, raw), raw)

    @property
    def raw(self) -> bytes:
        """The JSON bytes as the vendor sent them, to the byte.

        A line of a list keeps its whole reply alive for this, and the first one asked cuts the reply into its lines.
        """
        return bytes(self._source if isinstance(self._source, Raw) else self._source[self._index])

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
        fields = fields_of(type(self)).values()
        wires = {field.wire for field in fields if field.read is readings.amount}
        codes = (readings.currency(value_of(getattr(self._wire, wire))) for wire in wires if wire)
        return {code for code in codes if code is not None}

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
def wire_type(model: type[Model]) -> type[msgspec.Struct]:
    """A struct with one `Raw` per wire field that the model knows."""
    names = dict.fromkeys((*(field.wire for field in fields_of(model).values() if field.wire), *model.parts))
    return msgspec.defstruct(
        f"{model.__name__}Wire", [(name, Raw, msgspec.field(default=MISSING)) for name in names], gc=False
    )


@cache
def _wire_decoder(model: type[Model]) -> Callable[[Raw], msgspec.Struct]:
    return msgspec.json.Decoder(wire_type(model)).decode


def wire_of(model: type[Model], raw: Raw) -> Any:
    """The wire fields of `raw`; all missing if it is no object."""
    try:
        return _wire_decoder(model)(raw)
    except NOT_JSON:
        return wire_type(model)()


def fill(wire: msgspec.Struct, inner: msgspec.Struct) -> None:
    """Give `wire` the fields that it misses and `inner` has."""
    for name in wire.__struct_fields__:
        if getattr(wire, name) is MISSING:
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
