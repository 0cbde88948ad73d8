"""Typer's formatting of help, imported without the parts of rich that it does not use here.

Formatting of Markdown and of tracebacks, and the libraries that these import, would take a third of the time of
`ekb --help`. In their place Typer gets classes that are imported when they are used.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

_UNUSED = {"rich.markdown": "Markdown", "rich.traceback": "Traceback"}


class _Deferred(type):
    """A class that is imported when it is called, or asked for an attribute."""

    def _imported(cls) -> Any:
        return getattr(importlib.import_module(cls.__module__), cls.__name__)

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return cls._imported()(*args, **kwargs)

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(cls._imported(), name)


def help_module() -> ModuleType:
    """Return the module `typer.rich_utils`."""
    places = {name: _place(name, part) for name, part in _UNUSED.items() if name not in sys.modules}
    sys.modules.update(places)
    try:
        return importlib.import_module("typer.rich_utils")
    except ImportError:  # another version of Typer may import more from them
        _remove(places)
        return importlib.import_module("typer.rich_utils")
    finally:
        _remove(places)


def _place(name: str, part: str) -> ModuleType:
    module = ModuleType(name)
    setattr(module, part, _Deferred(part, (), {"__module__": name}))
    return module


def _remove(places: dict[str, ModuleType]) -> None:
    for name, module in places.items():
        if sys.modules.get(name) is module:
            del sys.modules[name]
