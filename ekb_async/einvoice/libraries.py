"""The libraries of the extra `einvoice`, imported when a PDF or a picture is read; XML and OFD need none of them."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from ekb_async.errors import ConfigError


class MissingLibraryError(ConfigError):
    """Raised when a PDF or a picture is to be read and a library for it is not installed."""


_PACKAGES = {"zxingcpp": "zxing-cpp", "pypdfium2": "pypdfium2", "PIL": "Pillow"}


def library(module: str) -> ModuleType:
    """Return a module of the extra. Raises `MissingLibraryError` if it is not installed."""
    try:
        return import_module(module)
    except ImportError:
        raise MissingLibraryError(_text(module.partition(".")[0])) from None


def heif_library() -> ModuleType:
    """Return pi_heif, which no extra installs. Raises `MissingLibraryError` if it is not installed."""
    try:
        return import_module("pi_heif")
    except ImportError:
        raise MissingLibraryError("pi-heif is not installed, which reads HEIC photos: pip install pi-heif") from None


def is_installed() -> bool:
    """Return whether pictures can be read."""
    return not missing("picture")


def missing(form: str) -> str:
    """Return the text of the `MissingLibraryError` that a file of this format raises; "" if it can be read."""
    needed = {"picture": ("zxingcpp", "PIL"), "pdf": ("pypdfium2", "zxingcpp", "PIL")}.get(form, ())
    absent = next((name for name in needed if find_spec(name) is None), None)
    return _text(absent) if absent else ""


def _text(name: str) -> str:
    what = _PACKAGES.get(name, name)
    return f'{what} is not installed, which reads invoices in PDFs and pictures: pip install "ekb-async[einvoice]"'
