"""The schema by which pydantic validates, serialises and describes a result: an instance, serialised as `to_dict()`.

Needs pydantic; imported only when pydantic asks for a schema.
"""

from __future__ import annotations

import enum
import inspect
from collections.abc import Collection
from datetime import date, datetime
from decimal import Decimal
from types import NoneType, UnionType
from typing import Annotated, Any, Protocol, Union, get_args, get_origin, get_type_hints, runtime_checkable

from pydantic import Field as Described
from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, WithJsonSchema
from pydantic_core import CoreSchema, core_schema

from ekb_async.models.wire import coerce
from ekb_async.models.wire.fields import WireField

_READ_TYPES: dict[Any, Any] = {
    coerce.text: str,
    coerce.message: str,
    coerce.texts: list[str],
    coerce.number: Decimal,
    coerce.rate: Decimal,
    coerce.whole: int,
    coerce.flag: bool,
    coerce.negated: bool,
    coerce.day: date,
    coerce.moment: datetime,
    coerce.box: list[float],
    coerce.angle: float,
}
_FORMATS = {Decimal: "decimal", date: "date", datetime: "date-time"}


@runtime_checkable
class Result(Protocol):
    """The interface of a result: named values, and `[]` for the JSON form of each."""

    @classmethod
    def value_names(cls) -> Collection[str]:
        """Return the names of the values."""
        ...

    def __getitem__(self, name: str) -> Any:
        """Return a value in the form that it has in JSON."""
        ...


def core_schema_of(result: type[Result], handler: GetCoreSchemaHandler) -> CoreSchema:
    """Return the schema of a result class, or the union of its subclasses if it has any."""
    if kinds := result.__subclasses__():
        choices = {kind.__name__: handler.generate_schema(kind) for kind in kinds}
        return core_schema.tagged_union_schema(choices, discriminator=lambda value: type(value).__name__)
    fields = {
        name: core_schema.typed_dict_field(handler.generate_schema(_value_type(result, name)))
        for name in result.value_names()
    }
    return core_schema.is_instance_schema(
        result,
        ref=f"{result.__module__}.{result.__qualname__}:{id(result)}",
        serialization=core_schema.plain_serializer_function_ser_schema(
            _values, return_schema=core_schema.typed_dict_schema(fields)
        ),
    )


def json_schema_of(result: type[Result], schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
    """Return the JSON schema of the serialised form, for input and for output."""
    match schema:
        case {"type": "is-instance", "serialization": {"return_schema": written}}:
            return {"title": result.__name__, "description": inspect.getdoc(result)} | handler(written)
        case _:
            return handler(schema)


def _values(result: Result) -> dict[str, object]:
    """Return the values in JSON form, except that results in them are left to their own schemas."""
    values = ((name, getattr(result, name)) for name in result.value_names())
    return {name: value if _holds_results(value) else result[name] for name, value in values}


def _holds_results(value: object) -> bool:
    return isinstance(value[0] if isinstance(value, list) and value else value, Result)


def _value_type(result: type[Result], name: str) -> Any:
    """Return the type that a value has in JSON."""
    attribute = inspect.getattr_static(result, name)
    if isinstance(attribute, WireField):
        known = _in_json(_READ_TYPES.get(attribute.read, Any)) | None
        return Annotated[known, Described(description=attribute.wire)] if attribute.wire else known
    if isinstance(attribute, property):
        return _in_json(get_type_hints(attribute.fget)["return"])
    return _in_json(get_type_hints(result)[name])


def _in_json(kind: Any) -> Any:
    if kind in _FORMATS:
        return Annotated[str, WithJsonSchema({"type": "string", "format": _FORMATS[kind]})]
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return Annotated[str, WithJsonSchema({"type": "string", "enum": [member.value for member in kind]})]
    if get_origin(kind) is list:
        return list[_in_json(get_args(kind)[0])]  # type: ignore[misc]  # the type is made at run time
    if get_origin(kind) in {Union, UnionType}:
        return Union[tuple(map(_in_json, get_args(kind)))]  # noqa: UP007 - from a tuple
    return None if kind is NoneType else kind
