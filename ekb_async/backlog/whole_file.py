"""A small file that is there as a whole or not at all."""

from __future__ import annotations

import os
import secrets
from contextlib import ExitStack
from pathlib import Path

from ekb_async.errors import ConfigError


def write_whole(path: Path, content: bytes) -> None:
    """Puts the content in the place of an older file. Raises `ConfigError` if it cannot be written."""
    try:
        with ExitStack() as undo:
            part = path.with_name(f".ekb-{secrets.token_hex(8)}.part")
            undo.callback(part.unlink, missing_ok=True)
            with part.open("xb") as file:
                if path.exists():
                    part.chmod(path.stat().st_mode & 0o777)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
    except OSError as error:
        raise ConfigError(f"{path}: the file cannot be written: {error.strerror}") from None
