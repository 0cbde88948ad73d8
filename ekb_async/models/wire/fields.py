"""Attributes of the vendor's wire fields, declared once as `name = text("wire name")`.

Type checkers see the type of the attribute. A text that was decoded with its reply is returned without any Python code
in between; every other value is coerced on access.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar, overload

from msgspec import Raw

from ekb_async.models.wire import coerce
from ekb_async.models.wire.envelope import NOT_JSON, value_decoder, value_of

V = TypeVar("V")

TEXT = str | None
MONEY = coerce.Money | str | int | None


class Declaration:
    """Class attributes by which a model describes its fields."""

    __slots__ = ()

    shown: ClassVar[tuple[str, ...]] = ()
    """Attributes in the `repr`."""
    parts: ClassVar[dict[str, Any]] = {}
    """Wire fields that contain models: the model, a list of it, or Raw for one that is decoded on access."""
    deferring: ClassVar[bool] = False
    """Whether wire fields that are not in `shown` stay JSON until they are accessed."""

    @classmethod
    def wire_path(cls, wire: str) -> str:
        """Return the dotted path of a wire field in the wire struct."""
        return wire

    @classmethod
    def wire_models(cls) -> tuple[type[Declaration], ...]:
        """Return the models that are decoded from the same wire struct."""
        return (cls,)


class WireField(property, Generic[V]):
    """An attribute with the value of the wire field `wire`; always None if `wire` is "" (the kind has no such field).

    `wire_type` is the documented JSON type. A `deferred` field stays JSON in the model until it is accessed.
    """

    def __init__(
        self, wire: str, read: Callable[[Any], V | None], wire_type: Any = Any, *, deferred: bool = False
    ) -> None:
        self.wire = wire
        self.read = read
        self.wire_type = wire_type
        self.deferred = deferred
        self.value: Callable[[Any], object] = _nothing
        """Returns the JSON value in a model, of the documented type or of any other."""

    def __set_name__(self, owner: type[Declaration], name: str) -> None:
        self.deferred |= owner.deferring and name not in owner.shown
        super().__init__(self._getter(owner.wire_path(self.wire)) if self.wire else _nothing, doc=self.wire)

    def _getter(self, path: str) -> Callable[[Any], V | None]:
        in_wire, decode, read = attrgetter(path), tolerant_decoder(self.wire_type), self.read

        def value(model: Any) -> object:
            found = in_wire(model._wire)
            return decode(found) if isinstance(found, Raw) else found

        self.value = value
        if self.deferred:
            return lambda model: read(value(model))
        return attrgetter(f"_wire.{path}") if self.wire_type == TEXT else lambda model: read(in_wire(model._wire))

    if TYPE_CHECKING:

        @overload  # type: ignore[override]  # a plain property gives Any
        def __get__(self, model: None, owner: type, /) -> Self: ...
        @overload
        def __get__(self, model: Declaration, owner: type, /) -> V | None: ...
        def __get__(self, model: Declaration | None, owner: type, /) -> Self | V | None: ...


def _nothing(_: object) -> None:
    return None


@cache
def tolerant_decoder(kind: Any) -> Callable[[Raw], object]:
    """Return a decoder of the type `kind`, or else of any JSON value; it returns None for what cannot be decoded."""
    decode = value_decoder(kind)

    def read(raw: Raw) -> object:
        try:
            return decode(raw)
        except NOT_JSON:
            return value_of(raw)

    return read


@cache
def fields_of(model: type[Declaration]) -> dict[str, WireField[Any]]:
    """Return the declared fields by attribute name, those of base classes first."""
    found: dict[str, WireField[Any]] = {}
    for cls in reversed(model.__mro__):
        found |= {name: value for name, value in vars(cls).items() if isinstance(value, WireField)}
    return found


def text(wire: str = "") -> WireField[str]:
    """Declare a text; "" if the vendor left it empty."""
    return WireField(wire, coerce.text, TEXT)


def printed(wire: str = "") -> WireField[str]:
    """Declare a text that may be a number in JSON."""
    return WireField(wire, coerce.text)


def texts(wire: str = "") -> WireField[list[str]]:
    """Declare a list of texts."""
    return WireField(wire, coerce.texts)


def money(wire: str = "") -> WireField[Decimal]:
    """Declare an amount in the currency of the model's `currency`."""
    return WireField(wire, coerce.number, MONEY)


def numeric(wire: str = "") -> WireField[Decimal]:
    """Declare a number that is not an amount of money."""
    return WireField(wire, coerce.number)


def whole(wire: str = "") -> WireField[int]:
    """Declare a count."""
    return WireField(wire, coerce.whole)


def rate(wire: str = "") -> WireField[Decimal]:
    """Declare a rate as a fraction: 0.06 for 6 %."""
    return WireField(wire, coerce.rate)


def flag(wire: str = "") -> WireField[bool]:
    """Declare a flag."""
    return WireField(wire, coerce.flag)


def negated(wire: str = "") -> WireField[bool]:
    """Declare the opposite of the vendor's flag."""
    return WireField(wire, coerce.negated)


def day(wire: str = "") -> WireField[date]:
    """Declare a date at UTC+8."""
    return WireField(wire, coerce.day)


def moment(wire: str = "") -> WireField[datetime]:
    """Declare a point in time at UTC+8."""
    return WireField(wire, coerce.moment)


def box(wire: str = "") -> WireField[list[float]]:
    """Declare a rectangle on the image: left, top, right, bottom, in pixels."""
    return WireField(wire, coerce.box, deferred=True)


def angle(wire: str = "") -> WireField[float]:
    """Declare the degrees by which the invoice is rotated on the image."""
    return WireField(wire, coerce.angle, deferred=True)
