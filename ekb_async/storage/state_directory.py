"""The directory in which the processes of a user on a machine share state, closed to changes by other users."""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path

from ekb_async.errors import ConfigError

_NAME = "ekb"


def state_directory(directory: Path | str | None = None) -> Path:
    """Return the given directory, or else `EKB_STATE_DIR`, or a directory `ekb` where the system keeps such files.

    Raises `ConfigError` if the argument is no path, or if the user has no home directory.
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
    # The XDG Base Directory Specification says that a relative path is to be ignored.
    state = Path(os.environ.get("XDG_STATE_HOME", ""))
    return state if state.is_absolute() else Path.home() / ".local" / "state"


class UnsafeStateError(OSError):
    """Raised for a file or folder that another user could change, or that is a link."""

    def __init__(self, reason: str) -> None:
        super().__init__(errno.EPERM, reason)


def ensure_private(directory: Path, *, is_own: bool = False) -> None:
    """Create a directory that only this user can write to, or check an existing one.

    A directory whose name the package chose (`is_own`, and the default state directory) is closed to other users. One
    that a user named keeps its permissions, since it may be any directory. Raises `UnsafeStateError` if others can
    write to it.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if is_own and directory.is_symlink():
        raise UnsafeStateError(f"{directory} is a link")
    if os.name != "posix":
        return
    found = directory.stat()
    _check_owner(directory, found)
    if found.st_mode & 0o077 and (is_own or _is_default(directory)):
        directory.chmod(0o700)
    elif found.st_mode & 0o022:
        raise UnsafeStateError(
            f"other users can write to {directory}: close it to them (chmod go-w), or name a directory in it that does "
            "not exist yet"
        )


def check_private_file(path: Path) -> None:
    """Check a file, if it exists.

    Raises `UnsafeStateError` if it is a link, which may lead to a file of another program, or belongs to another user.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if stat.S_ISLNK(found.st_mode):
        raise UnsafeStateError(f"{path} is a link")
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        raise UnsafeStateError(f"{path} is not a file of its own")
    if os.name == "posix":
        _check_owner(path, found)


def close_to_others(path: Path) -> None:
    """Remove all permissions of other users on a file."""
    if os.name == "posix" and path.stat().st_mode & 0o077:
        path.chmod(0o600)


def _check_owner(path: Path, found: os.stat_result) -> None:
    user = os.geteuid()
    # Root may work in any user's directory, and other users cannot create files that root owns.
    if user and found.st_uid not in {user, 0}:
        raise UnsafeStateError(f"{path} belongs to another user")


def _is_default(directory: Path) -> bool:
    try:
        return directory == _base() / _NAME
    except RuntimeError:
        return False
