"""The error of a database that cannot be used says what failed, at once if it would fail each time."""

from __future__ import annotations

from pathlib import Path

import asyncpg
import pytest

from ekb_async import ConfigError, EkbConnectionError, StorageError
from ekb_async.backlog import Backlog, BacklogTiming
from ekb_async.postgres import PostgresPace, install_schema
from tests.support.postgres_peers import listening, refusing, with_tls, without_tls
from tests.support.tls import Authority


def dsn(port: int, options: str) -> str:
    return f"postgresql://u:5ecret@127.0.0.1:{port}/db?{options}"


async def test_a_certificate_that_cannot_be_verified(tmp_path: Path) -> None:
    """A certificate of an authority that is not known, or for another host, is no wrong DSN."""
    (tmp_path / "other").mkdir()
    authority, other = Authority(tmp_path, "db.example"), Authority(tmp_path / "other", "db.example")
    async with listening(with_tls(authority.server_context())) as port:
        for bundle, reason in ((other.bundle, "verify failed|certificate"), (authority.bundle, "127.0.0.1")):
            with pytest.raises(StorageError, match=f"certificate of the PostgreSQL server.*{reason}") as caught:
                await install_schema(dsn(port, f"sslmode=verify-full&sslrootcert={bundle}"))
            assert "5ecret" not in repr(caught.value)
        with pytest.raises(ConfigError, match="file that the PostgreSQL DSN names with sslrootcert=… cannot be read"):
            await install_schema(dsn(port, f"sslmode=verify-full&sslrootcert={tmp_path}/missing.pem"))


async def test_a_server_without_tls() -> None:
    """A DSN that requires TLS is refused at once by a server that has none."""
    async with listening(without_tls) as port:
        with pytest.raises(StorageError, match="does not use TLS"):
            await install_schema(dsn(port, "sslmode=require"))


async def test_a_pooler_that_refuses() -> None:
    """What a pooler says is quoted; a parameter that it does not support is refused at once."""
    never = "unsupported startup parameter: search_path"
    async with listening(refusing("08P01", never)) as port:
        with pytest.raises(StorageError, match=f"a pooler in front of it, refused the connection: {never}"):
            await install_schema(dsn(port, "sslmode=disable"))
    async with listening(refusing("08P01", "query_wait_timeout")) as port:
        with pytest.raises(EkbConnectionError, match=r"query_wait_timeout \(tried for 0.2 s\)"):
            await install_schema(dsn(port, "sslmode=disable"), patience=0.2)


async def test_a_pooler_in_transaction_mode(database: str) -> None:
    """Prepared statements that are gone are the pooler's work, and the error says so."""

    async def give_another_process(connection: asyncpg.Connection) -> None:
        await connection.execute("DEALLOCATE ALL")

    async with asyncpg.create_pool(database, min_size=0, max_size=2, setup=give_another_process) as pool:
        pace = PostgresPace(pool).pace("call", 100.0, 0.0, 1.0)

        async def claim_often() -> None:
            for _ in range(4):
                await pace.claim()

        with pytest.raises(StorageError, match="pooler in transaction mode"):
            await claim_often()
        await pace.close()


async def test_a_statement_that_is_ended_each_time(database: str) -> None:
    """A statement that takes longer than `statement_timeout` is no database that is away."""
    limited = f"{database}&options=-cstatement_timeout%3D50"
    holder = await asyncpg.connect(database)
    async with Backlog.open(limited, timing=BacklogTiming(patience=0.3)) as backlog, holder.transaction():
        await holder.execute("LOCK TABLE ekb_count IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(EkbConnectionError, match=r"ended a statement.*due to statement timeout") as caught:
            await backlog.counts()
    await holder.close()
    assert "away" not in str(caught.value)
    assert "statement_timeout" in caught.value.hint
