"""A bundle: a directory with the exchanges of a session with the vendor, without secrets and personal data.

`bundle.json` describes it, `exchanges.jsonl` has one `Exchange` per line, in the order in which the calls ended. Both
are readable by their owner only. A bundle has no use for the key with which it was masked, and does not contain it.

Everything here blocks and belongs in a thread.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO

import msgspec

from ekb_async.client.capture.limits import LIMITS, CaptureLimits
from ekb_async.errors import ConfigError, StorageError
from ekb_async.storage import atomic_files

FORMAT = 1
DESCRIPTION = "bundle.json"
EXCHANGES = "exchanges.jsonl"
_STATUSES = (200, 599)
_FRAMING = frozenset({"content-length", "transfer-encoding", "content-encoding", "connection"})
"""Headers that describe how a reply was sent, which a replay does in its own way."""
_NOTE = (
    "What went between ekb_async and the vendor. Secrets are left out; names, numbers, amounts, dates and IDs are "
    "replaced by others of the same shape, equal ones by equal ones. U+F8FF stands for an undecodable byte. "
    "`ekb sandbox --replay` and ekb_async.sandbox.Replay answer as recorded here."
)


class Upload(msgspec.Struct, frozen=True):
    """A file that was sent, without its content."""

    name: str
    size: int


class RecordedError(msgspec.Struct, frozen=True, omit_defaults=True):
    """An error of the transport: its class, its text, and whether the request had left.

    `settled` is true for an answer that cannot be read at all, as opposed to one that was cut off.
    """

    kind: str
    text: str = ""
    sent: bool | None = None
    settled: bool = False


class RecordedReply(msgspec.Struct, frozen=True, omit_defaults=True):
    """A reply. `size` is the length of the whole body; a file has no `body`."""

    status: int
    headers: dict[str, str] = {}
    body: str | None = None
    encoding: str = "utf-8"
    size: int = 0
    is_cut: bool = False
    """Whether the body is longer than a bundle stores."""
    begins: str = ""
    """The signature that a file begins with, in hexadecimal."""
    problem: RecordedError | None = None
    """What cut the body short on the way."""


class Exchange(msgspec.Struct, frozen=True, omit_defaults=True):
    """One request, and its reply or its error; neither if it was cancelled. Times are in seconds."""

    number: int
    at: float
    """When it began, counted from the beginning of the bundle."""
    seconds: float
    method: str
    path: str
    query: list[tuple[str, str]] = []
    body: str | None = None
    upload: Upload | None = None
    reply: RecordedReply | None = None
    error: RecordedError | None = None


class Description(msgspec.Struct, kw_only=True):
    """What a bundle is, and what it lacks."""

    format: int = FORMAT
    note: str = _NOTE
    package: str
    python: str
    platform: str
    host: str
    """The platform that was called; empty for one that only a single enterprise uses."""
    began: str
    ended: str = ""
    """Empty if the program was killed."""
    exchanges: int = 0
    left_out: int = 0
    """Exchanges that came after a limit was reached, or faster than they could be written."""
    withheld: int = 0
    """Exchanges that were not written because a secret was left in them."""
    limits_reached: list[str] = []
    limits: dict[str, int]


class BundleFiles:
    """The files of a new bundle. The constructor raises `ConfigError` for a directory that has something in it."""

    def __init__(self, directory: Path, host: str, limits: CaptureLimits = LIMITS) -> None:
        check_empty(directory)
        self._directory = directory
        self._limits = limits
        self._file: IO[bytes] | None = None
        self._bytes = 0
        self.description = Description(
            package=f"ekb-async {_package_version()}",
            python=platform.python_version(),
            platform=f"{platform.system()} {platform.release()} {platform.machine()}",
            host=host,
            began=_now(),
            limits=msgspec.to_builtins(limits),
        )

    def open(self) -> None:
        """Create the directory and both files. Raises `StorageError`, or `ConfigError` if there is something in it."""
        with _as_storage_error(self._directory):
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            check_empty(self._directory)
            self._directory.chmod(0o700)
            os.close(_new_file(self._directory / DESCRIPTION))
            self._file = os.fdopen(_new_file(self._directory / EXCHANGES), "wb", buffering=0)
        self._describe()

    @property
    def is_full(self) -> bool:
        """Whether a limit has been reached, so that nothing more is written."""
        return bool(self.description.limits_reached)

    def append(self, line: bytes) -> None:
        """Write a line with its end, unless a limit leaves no room for it. Raises `StorageError`."""
        about = self.description
        if (reached := self._limit_reached_by(line)) is not None:
            about.left_out += 1
            about.limits_reached.append(reached)
            return
        with _as_storage_error(self._directory):
            assert self._file is not None  # noqa: S101 - opened by its owner
            written = self._file.write(line)
            if written != len(line):
                # A full disk took a part of the line; without it the bundle stays readable.
                self._file.truncate(self._bytes)
                self._file.seek(self._bytes)
                raise OSError(28, os.strerror(28))
        self._bytes += len(line)
        about.exchanges += 1

    def close(self) -> None:
        """Write the final description and close the files. Raises `StorageError`."""
        if self._file is None:
            return
        file, self._file = self._file, None
        try:
            self.description.ended = _now()
            self._describe()
        finally:
            with _as_storage_error(self._directory):
                file.close()

    def _describe(self) -> None:
        content = msgspec.json.format(msgspec.json.encode(self.description)) + b"\n"
        atomic_files.write_whole(self._directory / DESCRIPTION, content)

    def _limit_reached_by(self, line: bytes) -> str | None:
        if self.description.exchanges >= self._limits.exchanges:
            return "exchanges"
        return "bundle_bytes" if self._bytes + len(line) > self._limits.bundle_bytes else None


def read_bundle(directory: Path) -> tuple[Description, list[Exchange]]:
    """Return the contents of a bundle. Raises `ConfigError` for a directory that is none, `StorageError` if damaged."""
    path = directory / DESCRIPTION
    try:
        about = msgspec.json.decode(path.read_bytes(), type=Description)
        lines = (directory / EXCHANGES).read_bytes().split(b"\n")
    except FileNotFoundError as error:
        raise ConfigError(f"{directory} is no bundle: it has no file {Path(error.filename).name}") from None
    except msgspec.MsgspecError as error:
        raise StorageError(f"{path}: the bundle is damaged: {error}") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise StorageError(f"{directory}: the bundle cannot be read: {reason}") from None
    if about.format != FORMAT:
        raise ConfigError(f"{path}: the bundle has the format {about.format}, not {FORMAT}")
    if lines.pop():
        raise StorageError(f"{directory / EXCHANGES}: the bundle is damaged: its last line has no end")
    return about, [_exchange(line, directory / EXCHANGES, number) for number, line in enumerate(lines, 1)]


def _exchange(line: bytes, path: Path, number: int) -> Exchange:
    try:
        exchange = msgspec.json.decode(line, type=Exchange)
        if exchange.reply is not None:
            _check(exchange.reply)
    except (msgspec.MsgspecError, ValueError, LookupError) as error:
        # The text may quote the bundle.
        reason = "".join(character if character.isprintable() else " " for character in str(error))
        raise StorageError(f"{path}, line {number}: the bundle is damaged: {reason}") from None
    return exchange


def _check(reply: RecordedReply) -> None:
    """Raise `ValueError` or `LookupError` for a reply that cannot be sent."""
    " ".encode(reply.encoding)
    bytes.fromhex(reply.begins)
    if not _STATUSES[0] <= reply.status <= _STATUSES[1]:
        raise ValueError(f"the status {reply.status}")
    for name, value in reply.headers.items():
        if name.lower() in _FRAMING or not (name + value).isprintable():
            raise ValueError(f"the header {name}")


def check_empty(directory: Path) -> None:
    """Raise `ConfigError` if a directory has something in it, and `StorageError` if that cannot be seen."""
    try:
        names = {entry.name for entry in directory.iterdir()}
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise ConfigError(f"{directory} is no directory") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise StorageError(f"{directory}: the bundle cannot be written there: {reason}") from None
    if DESCRIPTION in names:
        # Its key is gone, so the same ID would have two substitutes in it.
        raise ConfigError(f"{directory} holds a bundle already, which cannot be continued: name a new directory")
    if names:
        raise ConfigError(f"{directory} is not empty: name a new directory for the bundle")


def _new_file(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)


@contextlib.contextmanager
def _as_storage_error(directory: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        reason = error.strerror if isinstance(error, OSError) else error
        raise StorageError(f"{directory}: the bundle cannot be written: {reason}") from None


def _package_version() -> str:
    try:
        return version("ekb-async")
    except PackageNotFoundError:
        return ""


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
