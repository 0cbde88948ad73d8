"""Where the processes of a user on a machine find what they share."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ekb_async.errors import ConfigError


def state_directory(directory: Path | str | None = None) -> Path:
    """The given directory, or else `EKB_STATE_DIR`, or a directory `ekb` where the system wants such files.

    Raises `ConfigError` if what is given is no path, or the user has no home.
    """
    if not (directory is None or isinstance(directory, Path | str)):
        raise ConfigError(f"directory must be a path, not {type(directory).__name__}")
    if directory is not None:
        return Path(directory)
    named = os.environ.get("EKB_STATE_DIR")
    if named:
        return Path(named)
    try:
        return _base() / "ekb"
    except RuntimeError:
        raise ConfigError("there is no home directory to keep pace and tokens in: set EKB_STATE_DIR") from None


def _base() -> Path:
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return Path(local) if local else Path.home() / "AppData" / "Local"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    # A relative path is to be ignored, says the XDG Base Directory Specification.
    state = Path(os.environ.get("XDG_STATE_HOME", ""))
    return state if state.is_absolute() else Path.home() / ".local" / "state"
