"""Where the processes of a user on a machine find what they share, and what other users must not be able to change."""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path

from ekb_async.errors import ConfigError

_NAME = "ekb"


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
        return _base() / _NAME
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


class UnsafeStateError(OSError):
    """A file or folder that another user could change, or that leads elsewhere."""

    def __init__(self, reason: str) -> None:
        super().__init__(errno.EPERM, reason)


def ensure_private(directory: Path, *, is_ours: bool = False) -> None:
    """Make a directory that only this user can write to, or check the one that is there.

    One that the package names itself (`is_ours`, and the default state directory) is closed to others. One that a user
    named is left as it is, since it may be anything. Raises `UnsafeStateError` if others can write to it.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if is_ours and directory.is_symlink():
        raise UnsafeStateError(f"{directory} is a link")
    if os.name != "posix":
        return
    found = directory.stat()
    _check_owner(directory, found)
    if found.st_mode & 0o077 and (is_ours or _is_default(directory)):
        directory.chmod(0o700)
    elif found.st_mode & 0o022:
        raise UnsafeStateError(
            f"other users can write to {directory}: close it to them (chmod go-w), or name a directory in it that does "
            "not exist yet"
        )


def check_private_file(path: Path) -> None:
    """Check a file, if there is one.

    Raises `UnsafeStateError` if it is a link, which may lead to a file of another program, or belongs to another user.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        raise UnsafeStateError(f"{path} is {'a link' if stat.S_ISLNK(found.st_mode) else 'not a file of its own'}")
    if os.name == "posix":
        _check_owner(path, found)


def close_to_others(path: Path) -> None:
    """Take a file's permissions from all other users."""
    if os.name == "posix" and path.stat().st_mode & 0o077:
        path.chmod(0o600)


def _check_owner(path: Path, found: os.stat_result) -> None:
    user = os.geteuid()
    # Root may work in any user's directory, and what root owns no other user has made.
    if user and found.st_uid not in {user, 0}:
        raise UnsafeStateError(f"{path} belongs to another user")


def _is_default(directory: Path) -> bool:
    try:
        return directory == _base() / _NAME
    except RuntimeError:
        return False
