"""Databases whose encoding lacks characters are refused before anything is paid for."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import asyncpg
import pytest

from ekb_async import ConfigError, EkbSession
from ekb_async.backlog import Backlog
from ekb_async.postgres import PostgresPace, install_schema
from ekb_async.sandbox import Fault, Sandbox
from tests.conftest import session_on
from tests.support.postgres import Postgres

pytestmark = pytest.mark.postgres

_numbers = itertools.count(1)


async def database_in(encoding: str, server: Postgres) -> str:
    """Create a database with that encoding and return its DSN."""
    # All processes of a test run share the server.
    name = f"encoded_{os.getpid()}_{next(_numbers)}"
    connection = await asyncpg.connect(server.dsn)
    try:
        await connection.execute(
            f"CREATE DATABASE {name} ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
        )
    finally:
        await connection.close()
    return server.dsn_of(name)


@pytest.mark.parametrize("encoding", ["EUC_CN", "LATIN1", "WIN1252"])
async def test_an_encoding_that_lacks_characters_is_refused(postgres_server: Postgres, encoding: str) -> None:
    """No table is created and no backlog opened; the error names the encoding and what to do."""
    dsn = await database_in(encoding, postgres_server)
    with pytest.raises(ConfigError, match=rf"encoding {encoding}.*ENCODING 'UTF8'"):
        await install_schema(dsn)
    with pytest.raises(ConfigError, match=f"encoding {encoding}"):
        async with Backlog.open(dsn):
            raise AssertionError("opened")
    async with asyncpg.create_pool(dsn, min_size=1, max_size=2) as pool:
        with pytest.raises(ConfigError, match=f"encoding {encoding}"):
            await install_schema(pool)
    connection = await asyncpg.connect(dsn)
    assert await connection.fetchval("SELECT to_regclass('ekb_call')") is None
    await connection.close()


async def test_a_pacer_in_such_a_database(postgres_server: Postgres) -> None:
    """A session with a pacer in such a database fails its calls with the same error, unsent."""
    dsn = await database_in("LATIN1", postgres_server)
    async with Sandbox(ocr_rate=0) as box:
        async with EkbSession(box.credentials, base_url=box.base_url, pacer=PostgresPace(dsn)) as ekb:
            with pytest.raises(ConfigError, match="encoding LATIN1"):
                await ekb.ocr("https://files.example/a.png")
        assert box.count("ocr") == 0


@pytest.mark.parametrize("encoding", ["UTF8", "SQL_ASCII"])
async def test_every_character_is_preserved(postgres_server: Postgres, tmp_path: Path, encoding: str) -> None:
    """In a database that stores all bytes, unusual characters are read as they were written."""
    dsn = await database_in(encoding, postgres_server)
    manifest = tmp_path / "m.csv"
    manifest.write_text("kind,file,ref\nocr,https://h/1.png,参考🧾\nocr,https://h/2.png,\n", encoding="utf-8")
    fault = Fault.answer(400, "识别失败 🧾", calls="ocr", times=1)
    async with Sandbox(ocr_rate=0, faults=[fault]) as box, session_on(box, max_tries=1) as ekb:
        await install_schema(dsn)
        async with Backlog.open(dsn) as backlog:
            await backlog.add_manifest(manifest)
            summary = await backlog.run(ekb)
            rows = [row async for row in backlog.results()]
    assert (summary.counts["done"], summary.counts["failed"], box.count("ocr")) == (1, 1, 2)
    assert rows[0].ref == "参考🧾"
    assert any("🧾" in (row.error or "") for row in rows)
