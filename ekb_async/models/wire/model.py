"""Base class of the models: typed attributes over the vendor's own bytes.

A model keeps the JSON values of its wire fields, and coerces one to the attribute's type on access. So a value of a
wrong type affects its own attribute only, unused values cost next to nothing, and decoding skips the schema that makes
up most of a reply.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import cache
from typing import Any, ClassVar, Self

import msgspec
from msgspec import Raw

from ekb_async.models.wire import coerce
from ekb_async.models.wire.envelope import json_of
from ekb_async.models.wire.fields import MONEY, Declaration, WireField, fields_of
from ekb_async.models.wire.returnable import Returnable
from ekb_async.models.wire.source import JsonPath, Source
from ekb_async.models.wire.wire_structs import Wire, wire_of, wire_type
from ekb_async.redaction.masking import Secrets


class Model(Returnable, Declaration, msgspec.Struct, frozen=True, eq=False, gc=False):
    """A reply of the vendor, or a part of one.

    `raw` is the JSON that the model was decoded from, `to_dict()` has its values under English names. Two models are
    equal if all their values are equal. A pickle contains `raw` and nothing else of the reply.
    """

    _wire: Any
    _source: Source
    _path: JsonPath = ()

    derived: ClassVar[tuple[str, ...]] = ()
    """Attributes in `to_dict()` that are not wire fields."""

    @classmethod
    def from_raw(cls, raw: bytes) -> Self:
        """Return the model of `raw`; raises `ResponseError` if that is not JSON."""
        return cls._from(json_of(raw))

    @classmethod
    def _from(cls, raw: Raw) -> Self:
        return cls(wire_of(wire_type(cls), raw), Source(raw))

    @classmethod
    def _all(cls, structs: Sequence[Wire], source: Source) -> list[Self]:
        """Return the models of a reply's list."""
        # A loop, since starting a comprehension or an enumeration costs as much as creating one model, and most lists
        # have one entry.
        models: list[Self] = []
        for wire in structs:
            models.append(cls(wire, source, (len(models),)))
        return models

    @property
    def raw(self) -> bytes:
        """The JSON bytes exactly as the vendor sent them.

        For this, a part keeps its whole reply alive. The first access splits the reply's list into its entries.
        """
        return self._source.slice(self._path)

    @classmethod
    def value_names(cls) -> Collection[str]:
        return _value_names(cls)

    def _values(self) -> Iterator[object]:
        for name in _value_names(type(self)):
            yield getattr(self, name)

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other) or not isinstance(other, Model):
            return NotImplemented
        return all(mine == theirs for mine, theirs in zip(self._values(), other._values(), strict=True))

    def __ne__(self, other: object) -> bool:
        # `__ne__` of the base class does not call `__eq__`.
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
    """A model with amounts of money and their currency."""

    derived: ClassVar[tuple[str, ...]] = ("currency",)

    @property
    def currencies(self) -> set[str]:
        """Currency codes of the amounts that have one."""
        amounts = (field.value(self) for field in _money_fields(type(self)))
        return {code for amount in amounts if (code := coerce.currency(amount)) is not None}

    @property
    def currency(self) -> str | None:
        """Currency code of the amounts, such as `CNY`; None if they have none, or more than one."""
        codes = self.currencies
        return codes.pop() if len(codes) == 1 else None


@cache
def _money_fields(model: type[Model]) -> list[WireField[Any]]:
    """Return one field for each wire field with an amount."""
    money = {field.wire: field for field in fields_of(model).values() if field.wire and field.wire_type == MONEY}
    return list(money.values())


def hide(result: object, secrets: Secrets) -> None:
    """Attach to a result, or to a list of models, the secrets to be masked before it is stored."""
    if isinstance(result, Model):
        result._source.secrets = secrets
    elif isinstance(result, list) and result and isinstance(result[0], Model):
        result[0]._source.secrets = secrets


def secrets_of(model: Model) -> Secrets | None:
    """Return the secrets to be masked in a model's JSON before it is stored."""
    return model._source.secrets


@cache
def _value_names(model: type[Model]) -> dict[str, None]:
    """Return the attributes in `to_dict()`, ordered, with fast membership tests."""
    return dict.fromkeys((*fields_of(model), *model.derived))
