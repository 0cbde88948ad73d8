"""The checks of this machine: the directory that processes share, and what is installed."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import tempfile
from collections import defaultdict
from importlib import metadata
from pathlib import Path

from ekb_async.cli.doctor.examination import Examination
from ekb_async.cli.doctor.findings import Finding, failed, ok, skipped
from ekb_async.cli.language import texts
from ekb_async.errors import ConfigError
from ekb_async.storage.state_directory import UnsafeStateError, check_private_file, ensure_private, state_directory

_DISTRIBUTION = "ekb-async"
_PACE, _TOKENS = "pace.sqlite", "tokens/*.sqlite"
"""The files of `MachinePace` and `MachineTokens`; a directory that a user named may hold files of other programs."""
_FOR_DEVELOPERS = frozenset({"test", "bench"})
_REQUIREMENT = re.compile(r"""(?P<package>[\w.-]+)[^;]*;.*\bextra\s*==\s*["'](?P<extra>[\w.-]+)["']""")


async def state(_: Examination) -> Finding:
    """Check that the directory of shared pace and tokens can be written to, and by this user only."""
    return await asyncio.to_thread(_state)


async def extras(_: Examination) -> Finding:
    """List the extras of the package, by whether all they need is installed."""
    return await asyncio.to_thread(_extras)


def _state() -> Finding:
    try:
        directory = state_directory()
    except ConfigError as error:
        return failed(texts.rendered(str(error)), texts("Set EKB_STATE_DIR to a directory of this user."))
    try:
        _try(directory)
    except UnsafeStateError as error:
        advice = texts("Close it to other users, or set EKB_STATE_DIR to a directory of this user.")
        return failed(texts.rendered(str(error.strerror)), advice)
    except OSError as error:
        what = texts.rendered(f"{error.filename or directory}: {error.strerror}")
        advice = texts("Make it writable for this user, or set EKB_STATE_DIR to a directory that is.")
        return failed(what, advice)
    return ok(texts("{directory} can be written to, by this user only", directory=directory))


def _try(directory: Path) -> None:
    """Do with the directory what sharing pace and tokens needs. Raises `OSError`."""
    ensure_private(directory)
    for file in (directory / _PACE, *directory.glob(_TOKENS)):
        check_private_file(file)
        if file.exists() and not os.access(file, os.R_OK | os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(file))
    try:
        with tempfile.TemporaryFile(dir=directory) as new:
            new.write(b"\0")
    except OSError as error:
        # The name of the temporary file says nothing.
        raise OSError(error.errno, error.strerror, str(directory)) from None


def _extras() -> Finding:
    try:
        requirements = metadata.requires(_DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return skipped(texts("{package} is not installed as a distribution", package=_DISTRIBUTION))
    needed: dict[str, list[str]] = defaultdict(list)
    for requirement in filter(None, map(_REQUIREMENT.match, requirements)):
        needed[requirement["extra"]].append(requirement["package"])
    names = sorted(needed.keys() - _FOR_DEVELOPERS)
    present = [name for name in names if all(map(_is_installed, needed[name]))]
    absent = [name for name in names if name not in present]
    installed, others = ", ".join(present), ", ".join(absent)
    if not absent:
        return ok(texts("installed: {extras}", extras=installed))
    if not present:
        return ok(texts("none is installed: {extras}", extras=others))
    return ok(texts("installed: {extras}; not installed: {others}", extras=installed, others=others))


def _is_installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True
