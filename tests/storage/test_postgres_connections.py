"""How a connection to PostgreSQL is opened: what the DSN says, and what is in front of the server."""

from __future__ import annotations

import asyncpg
import pytest

from ekb_async.backlog import Backlog
from ekb_async.errors import ConfigError, StorageError
from ekb_async.postgres import install_schema
from ekb_async.storage.postgres.dsn import connection_parameters
from tests.support.pooler import pooler


@pytest.mark.parametrize(
    "parameters",
    [
        "connect_timeout=10",
        "channel_binding=prefer",
        "keepalives=1&keepalives_idle=30&keepalives_interval=10&keepalives_count=3&tcp_user_timeout=9000",
        "gssencmode=disable&sslcertmode=allow&sslsni=1&client_encoding=utf8&load_balance_hosts=disable",
        "fallback_application_name=ours&target_session_attrs=read-write",
        "options=-csearch_path%3Dpublic&connect_timeout=0",
    ],
)
async def test_a_dsn_as_libpq_takes_it(database: str, parameters: str) -> None:
    """Parameters that are libpq's and not the driver's are no unknown settings of the server."""
    async with Backlog.open(f"{database}&{parameters}") as backlog:
        assert (await backlog.counts())["pending"] == 0


@pytest.mark.parametrize(
    "parameter", ["channel_binding=require", "gssencmode=require", "requirepeer=postgres", "require_auth=md5"]
)
async def test_what_the_driver_cannot_guarantee(parameter: str) -> None:
    """A parameter that demands more than the driver can do is refused by its name, and the DSN is not quoted."""
    with pytest.raises(ConfigError, match=parameter.partition("=")[0]) as caught:
        await install_schema(f"postgresql://me:secret-password@127.0.0.1/ekb?{parameter}")
    assert "secret-password" not in str(caught.value)


def test_the_parameters() -> None:
    """What is kept is kept as it is; the application's name that is given for a fallback yields to the other."""
    dsn = "postgresql://u:p%40@a:1,b:2/d?options=-cx%3Dy&connect_timeout=1"
    assert connection_parameters(dsn) == ("postgresql://u:p%40@a:1,b:2/d?options=-cx%3Dy", 2.0)
    assert connection_parameters("postgresql:///d?connect_timeout=7") == ("postgresql:///d", 7.0)
    names = "postgresql:///d?fallback_application_name=a&application_name=b"
    assert connection_parameters(names).dsn == "postgresql:///d?application_name=b"
    with pytest.raises(ConfigError, match="connect_timeout"):
        connection_parameters("postgresql:///d?connect_timeout=soon")


async def test_a_pooler_in_transaction_mode_is_refused_at_the_start(database: str) -> None:
    """Nothing fails in front of it, but locks would belong to no run; so the first use is refused."""
    async with pooler(database, transaction_mode=True) as dsn:
        connections = [await asyncpg.connect(dsn) for _ in range(2)]
        processes = {await each.fetchval("SELECT pg_backend_pid()") for each in connections}
        assert len(processes) == 1
        with pytest.raises(StorageError, match="pooler in transaction mode"):
            await install_schema(dsn)
        async with asyncpg.create_pool(dsn, min_size=0, max_size=2) as pool:
            with pytest.raises(StorageError, match="pooler in transaction mode"):
                await install_schema(pool)
        for each in connections:
            await each.close()


async def test_a_pooler_in_session_mode_is_used(database: str) -> None:
    """A connection that leads to one server process of its own is as good as a direct one."""
    async with pooler(database, transaction_mode=False) as dsn, Backlog.open(dsn) as backlog:
        assert (await backlog.counts())["pending"] == 0
        async with asyncpg.create_pool(dsn, min_size=0, max_size=1) as pool:
            assert not (await install_schema(pool)).changed
