"""Results as web frameworks take them: `dict(result)` is `to_dict()`, and pydantic finds a schema.

FastAPI checks and describes an annotated result by its schema, and writes one without annotation as `dict(result)`.
Neither is imported here: pydantic's own call brings what needs it.
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
    """To be mixed into structs of results."""

    __slots__ = ()

    # `[]` alone would make a result iterable, by numbers that it does not have.
    __iter__ = None

    @classmethod
    def value_names(cls) -> Collection[str]:
        """Return the names of its values; of a struct that says nothing else, these are all fields except `raw`."""
        return tuple(name for name in getattr(cls, "__struct_fields__", ()) if name != "raw")

    def to_dict(self) -> dict[str, Any]:
        """The values under their English names, ready for JSON: Decimal as text, dates and times in ISO 8601."""
        return {name: plain(getattr(self, name)) for name in self.value_names()}

    def keys(self) -> Collection[str]:
        """The names in `to_dict()`; with `[]`, it makes `dict(result)` the same."""
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
    """Return a value as JSON has it."""
    match value:
        case Returnable():
            return value.to_dict()
        case [Returnable(), *_]:
            return [plain(item) for item in value]
        case Decimal():
            return coerce.plain(value)
        case _:
            return msgspec.to_builtins(value)
