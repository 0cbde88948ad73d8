"""The data that an error reporter sends for a raised error: the locals of every frame of the package."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path

import ekb_async

_PACKAGE = str(Path(ekb_async.__file__).parent)


def package_locals(error: BaseException | None, seen: set[int] | None = None) -> Iterator[str]:
    """Yield the repr of every local in the package's frames, of the error and of all its causes and contexts."""
    seen = set() if seen is None else seen
    if error is None or id(error) in seen:
        return
    seen.add(id(error))
    yield repr(error)
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_filename.startswith(_PACKAGE):
            for name, value in frame.f_locals.items():
                yield f"{frame.f_code.co_qualname}: {name} = {value!r}"
    for other in (error.__cause__, error.__context__, *getattr(error, "exceptions", ())):
        yield from package_locals(other, seen)
