"""A small file that is there as a whole or not at all."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from pathlib import Path

from ekb_async.errors import ConfigError


def write_whole(path: Path, content: bytes) -> None:
    """Puts the content in the place of an older file. Raises `ConfigError` if it cannot be written."""
    try:
        with ExitStack() as undo:
            descriptor, name = tempfile.mkstemp(prefix=f".{path.name[:50]}.", suffix=".part", dir=path.parent)
            part = Path(name)
            undo.callback(part.unlink, missing_ok=True)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.chmod(0o644)
            part.replace(path)
    except OSError as error:
        raise ConfigError(f"{path}: the file cannot be written: {error.strerror}") from None
