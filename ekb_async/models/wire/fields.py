"""Attributes over the vendor's wire fields, declared once as `name = text("wire name")`.

Type checkers see the type that the attribute has. A text that was decoded with its reply is handed out without any
Python in between; every other value is read as its type when it is asked for.
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
    """What a model says of its fields, besides the fields."""

    __slots__ = ()

    shown: ClassVar[tuple[str, ...]] = ()
    """The attributes in the `repr`."""
    parts: ClassVar[dict[str, Any]] = {}
    """Wire fields that hold models of their own: the model, a list of it, or Raw for one that is decoded when asked."""
    deferring: ClassVar[bool] = False
    """Whether wire fields that are not `shown` stay JSON until they are asked for."""

    @classmethod
    def way_to(cls, wire: str) -> str:
        """Return where the wire struct has a wire field, as a path of attributes."""
        return wire

    @classmethod
    def wire_models(cls) -> tuple[type[Declaration], ...]:
        """Return the models that are decoded from the same wire struct."""
        return (cls,)


class WireField(property, Generic[V]):
    """An attribute read from the wire field `wire`; always None where `wire` is "" (the kind has no such field).

    `wire_type` is the JSON type that it is documented with. Where the model keeps the field as JSON until it is asked
    for, it is `deferred`.
    """

    def __init__(
        self, wire: str, read: Callable[[Any], V | None], wire_type: Any = Any, *, deferred: bool = False
    ) -> None:
        self.wire = wire
        self.read = read
        self.wire_type = wire_type
        self.deferred = deferred
        self._kept: Callable[[Declaration], Any] = _nothing

    def __set_name__(self, owner: type[Declaration], name: str) -> None:
        self.deferred |= owner.deferring and name not in owner.shown
        self._kept = attrgetter(f"_wire.{owner.way_to(self.wire)}")
        super().__init__(self._getter(), doc=self.wire)

    def _getter(self) -> Callable[[Any], V | None]:
        if not self.wire:
            return _nothing
        kept, read = self._kept, self.read
        if self.deferred:
            return lambda model: read(self.value(model))
        return kept if self.wire_type == TEXT else lambda model: read(kept(model))

    def value(self, model: Declaration) -> object:
        """The JSON value, of the documented type or of an odd one."""
        value = self._kept(model)
        return decoded(self.wire_type, value) if isinstance(value, Raw) else value

    if TYPE_CHECKING:

        @overload  # type: ignore[override]  # a plain property gives Any
        def __get__(self, model: None, owner: type, /) -> Self: ...
        @overload
        def __get__(self, model: Declaration, owner: type, /) -> V | None: ...
        def __get__(self, model: Declaration | None, owner: type, /) -> Self | V | None: ...


def _nothing(_: object) -> None:
    return None


def decoded(kind: Any, raw: Raw) -> object:
    """The value of `raw` as the type, or whatever value it has; None if none can be made of it."""
    try:
        return value_decoder(kind)(raw)
    except NOT_JSON:
        return value_of(raw)


@cache
def fields_of(model: type[Declaration]) -> dict[str, WireField[Any]]:
    """The declared fields by attribute name, those of the base class first."""
    found: dict[str, WireField[Any]] = {}
    for cls in reversed(model.__mro__):
        found |= {name: value for name, value in vars(cls).items() if isinstance(value, WireField)}
    return found


def text(wire: str = "") -> WireField[str]:
    """Text; "" if the vendor left it empty."""
    return WireField(wire, coerce.text, TEXT)


def printed(wire: str = "") -> WireField[str]:
    """Text of what may come as a number as well."""
    return WireField(wire, coerce.text)


def texts(wire: str = "") -> WireField[list[str]]:
    """A list of texts."""
    return WireField(wire, coerce.texts)


def money(wire: str = "") -> WireField[Decimal]:
    """Money, in the currency that the model's `currency` names."""
    return WireField(wire, coerce.number, MONEY)


def numeric(wire: str = "") -> WireField[Decimal]:
    """A number that is no money."""
    return WireField(wire, coerce.number)


def whole(wire: str = "") -> WireField[int]:
    """A count."""
    return WireField(wire, coerce.whole)


def rate(wire: str = "") -> WireField[Decimal]:
    """A rate as a fraction: 0.06 for 6 %."""
    return WireField(wire, coerce.rate)


def flag(wire: str = "") -> WireField[bool]:
    """A switch."""
    return WireField(wire, coerce.flag)


def negated(wire: str = "") -> WireField[bool]:
    """A switch that the vendor has the other way round."""
    return WireField(wire, coerce.negated)


def day(wire: str = "") -> WireField[date]:
    """A date at UTC+8."""
    return WireField(wire, coerce.day)


def moment(wire: str = "") -> WireField[datetime]:
    """A point in time at UTC+8."""
    return WireField(wire, coerce.moment)


def box(wire: str = "") -> WireField[list[float]]:
    """Left, top, right, bottom on the image, in pixels."""
    return WireField(wire, coerce.box, deferred=True)


def angle(wire: str = "") -> WireField[float]:
    """Degrees by which the invoice is turned on the image."""
    return WireField(wire, coerce.angle, deferred=True)
