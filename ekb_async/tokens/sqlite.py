"""One access token for all processes of a user on this machine.

Each enterprise has a small SQLite file in the user's state directory, so that fetching the token of one does not delay
the others. The lock is a transaction begun for writing: the system ends it with the process, other processes can read
meanwhile, and an unfinished change has no effect. Waiting for the lock is trying again after a pause, so it can be
cancelled at any time.

The file is opened for each access, always in threads, since a session needs it once in two hours. Unlike the pace, it
is flushed to the disk: the next process after a power cut may need it. Moments are those of the wall clock.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import msgspec

from ekb_async.aio.tasks import in_thread
from ekb_async.storage.sqlite.errors import is_locked, reason_of
from ekb_async.storage.sqlite.private_files import FileFormat, connect, initialise, is_initialised
from ekb_async.storage.state_directory import ensure_private, state_directory
from ekb_async.tokens.cipher import EncryptedToken, TokenCipher, check_encryption
from ekb_async.tokens.limits import LIMITS
from ekb_async.tokens.store import LockedEntry, SharedToken, TokenEntry, TokenStoreError, locked_too_long

P = ParamSpec("P")
T = TypeVar("T")

_TABLE = """
CREATE TABLE token (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    generation INTEGER NOT NULL,
    ciphertext BLOB NOT NULL,
    issued REAL NOT NULL,
    renew_from REAL NOT NULL,
    unusable_from REAL NOT NULL
)
"""
_FORMAT = FileFormat(_TABLE)
_READ = "SELECT generation, ciphertext, issued, renew_from, unusable_from FROM token"
_WRITE = """
INSERT OR REPLACE INTO token (id, generation, ciphertext, issued, renew_from, unusable_from)
VALUES (1, :generation, :ciphertext, :issued, :renew_from, :unusable_from)
"""


class MachineTokens:
    """The tokens of all processes of this user on this machine: `EkbSession(…, token_store=MachineTokens())`.

    `directory` contains its files, by default the environment's `EKB_STATE_DIR` or the user's state directory; it is
    created if it is missing. A file that cannot be used fails no call: the session fetches a token of its own and logs
    a warning. `clock` returns epoch seconds. Raises `ConfigError` if the library `cryptography` is missing.
    """

    def __init__(self, directory: Path | str | None = None, *, clock: Callable[[], float] = time.time) -> None:
        check_encryption()
        self._directory = state_directory(directory)
        self._clock = clock

    def __repr__(self) -> str:
        return f"<MachineTokens in {self._directory}>"

    def entry(self, key: str, secret: str) -> TokenEntry:
        cipher = TokenCipher(key, secret)
        path = self._directory / "tokens" / f"{key}.sqlite"
        return _FileEntry(lambda: _TokenFile(path, cipher, self._clock))


class _FileEntry:
    def __init__(self, file: Callable[[], _TokenFile]) -> None:
        self._file = file

    async def read(self) -> SharedToken | None:
        return await _in_thread(_TokenFile.read_and_close, self._file())

    @asynccontextmanager
    async def lock(self, patience: float) -> AsyncGenerator[LockedEntry]:
        loop = asyncio.get_running_loop()
        until = loop.time() + patience
        pause = LIMITS.first_lock_pause_seconds
        file = self._file()
        try:
            while not await _in_thread(_TokenFile.try_lock, file):
                if loop.time() >= until:
                    raise locked_too_long(patience)
                await asyncio.sleep(pause)
                pause = min(LIMITS.lock_pause_growth * pause, LIMITS.longest_lock_pause_seconds)
            yield _LockedFile(file)
        finally:
            await _in_thread(_TokenFile.close, file)

    async def close(self) -> None:
        """Do nothing: the file is closed after each access."""


class _LockedFile:
    def __init__(self, file: _TokenFile) -> None:
        self._file = file

    async def read(self) -> SharedToken | None:
        return await _in_thread(_TokenFile.read, self._file)

    async def write(self, token: SharedToken) -> None:
        await _in_thread(_TokenFile.write, self._file, token)


class _TokenFile:
    """The file of one enterprise's token, for one thread at a time."""

    def __init__(self, path: Path, cipher: TokenCipher, clock: Callable[[], float]) -> None:
        self.path = path
        self._cipher = cipher
        self._clock = clock
        self._db: sqlite3.Connection | None = None

    def read_and_close(self) -> SharedToken | None:
        """Return the token in the file, locked or not; a missing file is not created."""
        if not self.path.exists():
            return None
        try:
            return self.read()
        finally:
            self.close()

    def try_lock(self) -> bool:
        """Lock the file until it is closed, and return True; return False if another process has locked it."""
        db = self._open()
        # It may stay locked for long, and a thread that waits for that cannot be stopped.
        db.execute("PRAGMA busy_timeout = 0")
        try:
            db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if not is_locked(error):
                raise
            return False
        finally:
            db.execute(f"PRAGMA busy_timeout = {LIMITS.busy_timeout_seconds * 1000:.0f}")
        return True

    def read(self) -> SharedToken | None:
        db = self._open()
        if not is_initialised(db, self.path, _FORMAT):
            return None
        row = db.execute(_READ).fetchone()
        try:
            encrypted = msgspec.convert(row, EncryptedToken)
        except msgspec.ValidationError:
            return None
        return self._cipher.decrypt(encrypted, self._clock())

    def write(self, token: SharedToken) -> None:
        """Store a token and end the lock."""
        db = self._open()
        if not is_initialised(db, self.path, _FORMAT):
            initialise(db, self.path, _FORMAT)
        db.execute(_WRITE, msgspec.structs.asdict(self._cipher.encrypt(token, self._clock())))
        db.execute("COMMIT")

    def close(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            db.close()

    def _open(self) -> sqlite3.Connection:
        if self._db is None:
            ensure_private(self.path.parent.parent)
            ensure_private(self.path.parent, is_own=True)
            self._db = connect(self.path, LIMITS.busy_timeout_seconds)
        return self._db


async def _in_thread(
    function: Callable[Concatenate[_TokenFile, P], T], file: _TokenFile, *args: P.args, **kwargs: P.kwargs
) -> T:
    try:
        return await in_thread(function, file, *args, **kwargs)
    except (sqlite3.Error, OSError) as error:
        raise TokenStoreError(f"{file.path}: {reason_of(error)}") from None
