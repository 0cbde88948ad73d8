"""Support for web frameworks: `dict(result)` equals `to_dict()`, and pydantic finds a schema.

FastAPI validates and describes an annotated result by its schema, and serialises one without annotation as
`dict(result)`. Neither package is imported here; what needs pydantic is imported when pydantic asks for the schema.
"""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from ekb_async.models.wire import coerce

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic_core import CoreSchema


class Returnable:
    """A mixin for structs of results."""

    __slots__ = ()

    # With `__getitem__` alone, Python would take a result for a sequence and iterate over indexes.
    __iter__ = None

    @classmethod
    def value_names(cls) -> Collection[str]:
        """Return the names of the values; by default, all fields of the struct except `raw`."""
        return tuple(name for name in getattr(cls, "__struct_fields__", ()) if name != "raw")

    def to_dict(self) -> dict[str, Any]:
        """Return the values under their English names, ready for JSON: Decimal as text, dates and times in ISO 8601."""
        return {name: plain(getattr(self, name)) for name in self.value_names()}

    def keys(self) -> Collection[str]:
        """Return the names in `to_dict()`; together with `[]`, this makes `dict(result)` equal to it."""
        return self.value_names()

    def __getitem__(self, name: str) -> Any:
        if name not in self.value_names():
            raise KeyError(name)
        return plain(getattr(self, name))

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        from ekb_async.models.wire.result_schema import core_schema_of

        return core_schema_of(cls, handler)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        from ekb_async.models.wire.result_schema import json_schema_of

        return json_schema_of(cls, schema, handler)


def plain(value: object) -> object:
    """Return a value in the form that it has in JSON."""
    if value is None or type(value) is str:
        return value
    match value:
        case Returnable():
            return value.to_dict()
        case [Returnable(), *_]:
            return [plain(item) for item in value]
        case Decimal():
            return coerce.plain(value)
        case _:
            return msgspec.to_builtins(value)
