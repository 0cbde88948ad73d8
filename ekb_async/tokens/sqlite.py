"""One access token for all processes of a user on this machine.

Each enterprise has a small SQLite file in the user's state directory, so that fetching the token of one does not hold
up the others. Holding it is a transaction that has announced to write: the system ends that with the process, other
processes go on reading meanwhile, and what was not finished never was. Waiting for it is asking again after a moment,
which can be broken off at any time.

The file is opened for each look, all in threads, since a session looks once in two hours. Unlike the pace it is flushed
to the disk: the next process after a power cut may need it. Moments are the wall clock's.
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

from ekb_async.aio.tasks import await_uncancelled
from ekb_async.storage.state_directory import check_private_file, close_to_others, ensure_private, state_directory
from ekb_async.tokens.cipher import EncryptedToken, TokenCipher, check_encryption
from ekb_async.tokens.store import LockedEntry, SharedToken, TokenEntry, TokenStoreError, held_too_long

P = ParamSpec("P")
T = TypeVar("T")

_VERSION = 1
_FOR_READERS = 5.0
"""Seconds to wait for others that read, or write at the end of their hold, which takes them a moment."""
_FIRST_WAIT, _LONGEST_WAIT = 0.02, 0.25

_CREATE = """
CREATE TABLE IF NOT EXISTS token (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    generation INTEGER NOT NULL,
    ciphertext BLOB NOT NULL,
    issued REAL NOT NULL,
    renew_from REAL NOT NULL,
    unusable_from REAL NOT NULL
)
"""
_READ = "SELECT generation, ciphertext, issued, renew_from, unusable_from FROM token"
_WRITE = "INSERT OR REPLACE INTO token VALUES (1, ?, ?, ?, ?, ?)"


class MachineTokens:
    """The tokens of all processes of this user on this machine: `EkbSession(…, token_store=MachineTokens())`.

    `directory` is where its files lie, by default the environment's `EKB_STATE_DIR` or the user's state directory, made
    if it is missing. A file that cannot be used fails no call: the session fetches a token of its own and logs a
    warning. `clock` gives epoch seconds. Raises `ConfigError` if the library `cryptography` is missing.
    """

    def __init__(self, directory: Path | str | None = None, *, clock: Callable[[], float] = time.time) -> None:
        check_encryption()
        self._directory = state_directory(directory)
        self._clock = clock

    def __repr__(self) -> str:
        return f"<MachineTokens in {self._directory}>"

    def entry(self, key: str, secret: str) -> TokenEntry:
        encrypt = TokenCipher(key, secret)
        path = self._directory / "tokens" / f"{key}.sqlite"
        return _FileEntry(lambda: _TokenFile(path, encrypt, self._clock))


class _FileEntry:
    def __init__(self, file: Callable[[], _TokenFile]) -> None:
        self._file = file

    async def read(self) -> SharedToken | None:
        return await _in_thread(_TokenFile.look, self._file())

    @asynccontextmanager
    async def lock(self, patience: float) -> AsyncGenerator[LockedEntry]:
        loop = asyncio.get_running_loop()
        until = loop.time() + patience
        wait = _FIRST_WAIT
        file = self._file()
        try:
            while not await _in_thread(_TokenFile.try_hold, file):
                if loop.time() >= until:
                    raise held_too_long(patience)
                await asyncio.sleep(wait)
                wait = min(1.5 * wait, _LONGEST_WAIT)
            yield _HeldFile(file)
        finally:
            await _in_thread(_TokenFile.close, file)


class _HeldFile:
    def __init__(self, file: _TokenFile) -> None:
        self._file = file

    async def read(self) -> SharedToken | None:
        return await _in_thread(_TokenFile.read, self._file)

    async def write(self, token: SharedToken) -> None:
        await _in_thread(_TokenFile.write, self._file, token)


class _TokenFile:
    """The file of one enterprise's token, for one thread at a time."""

    def __init__(self, path: Path, encrypt: TokenCipher, clock: Callable[[], float]) -> None:
        self.path = path
        self._cipher = encrypt
        self._clock = clock
        self._db: sqlite3.Connection | None = None

    def look(self) -> SharedToken | None:
        """What is in the file, whoever holds it; it is not made if it is missing."""
        if not self.path.exists():
            return None
        try:
            return self.read()
        finally:
            self.close()

    def try_hold(self) -> bool:
        """Whether it could be held: nobody else can then write to it until it is closed."""
        db = self._open()
        # Who holds it may do so for long, and a thread that waits for that cannot be stopped.
        db.execute("PRAGMA busy_timeout = 0")
        try:
            db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            return False
        finally:
            db.execute(f"PRAGMA busy_timeout = {_FOR_READERS * 1000:.0f}")
        return True

    def read(self) -> SharedToken | None:
        db = self._open()
        if not self._marked(db):
            return None
        row = db.execute(_READ).fetchone()
        try:
            encrypted = msgspec.convert(row, EncryptedToken)
        except msgspec.ValidationError:
            return None
        return self._cipher.open(encrypted, self._clock())

    def write(self, token: SharedToken) -> None:
        """Keeps a token and ends the hold."""
        db = self._open()
        if not self._marked(db):
            close_to_others(self.path)
            db.execute(_CREATE)
            db.execute(f"PRAGMA user_version = {_VERSION}")
        db.execute(_WRITE, msgspec.structs.astuple(self._cipher.encrypt(token, self._clock())))
        db.execute("COMMIT")

    def close(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            db.close()

    def _open(self) -> sqlite3.Connection:
        if self._db is None:
            ensure_private(self.path.parent.parent)
            ensure_private(self.path.parent, is_ours=True)
            check_private_file(self.path)
            self._db = sqlite3.connect(self.path, timeout=_FOR_READERS, isolation_level=None, check_same_thread=False)
        return self._db

    def _marked(self, db: sqlite3.Connection) -> bool:
        """Whether it is a file of this version, and not a new one."""
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version not in {0, _VERSION}:
            raise sqlite3.DatabaseError("the file was made by another version of ekb_async")
        if not version and db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise sqlite3.DatabaseError("the file is not one of ekb_async")
        if version:
            close_to_others(self.path)
        return bool(version)


async def _in_thread(
    function: Callable[Concatenate[_TokenFile, P], T], file: _TokenFile, *args: P.args, **kwargs: P.kwargs
) -> T:
    loop = asyncio.get_running_loop()
    try:
        return await await_uncancelled(loop.run_in_executor(None, lambda: function(file, *args, **kwargs)))
    except (sqlite3.Error, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise TokenStoreError(f"{file.path}: {reason}") from None
