"""The rows of tokens in PostgreSQL: reading and writing many of them in one statement.

A row is written only if it is still as it was read, so a process that was taken for hung cannot replace a newer token;
or if it is as it shall be, since a write is repeated whose success is not known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from ekb_async.storage.limits import LIMITS as STORAGE_LIMITS
from ekb_async.tokens.cipher import EncryptedToken

_ANSWER_SECONDS = STORAGE_LIMITS.answer_timeout_seconds

_READ = """
SELECT key, generation, ciphertext, issued, renew_from, unusable_from, extract(epoch FROM clock_timestamp())::float8
FROM ekb_token WHERE key = ANY($1::text[])
"""
# All arrays are of text, since the driver asks the server about other types on each new connection.
_WRITE = """
WITH given AS (
    SELECT key, decode(seen, 'hex') AS seen, generation, decode(ciphertext, 'hex') AS ciphertext,
        now + issued AS issued, now + renew_from AS renew_from, now + unusable_from AS unusable_from
    FROM (SELECT extract(epoch FROM clock_timestamp())::float8 AS now) AS clock, unnest(
        $1::text[], $2::text[], $3::text[]::bigint[], $4::text[],
        $5::text[]::float8[], $6::text[]::float8[], $7::text[]::float8[]
    ) AS given (key, seen, generation, ciphertext, issued, renew_from, unusable_from)
), changed AS (
    UPDATE ekb_token AS token
    SET (generation, ciphertext, issued, renew_from, unusable_from)
        = (given.generation, given.ciphertext, given.issued, given.renew_from, given.unusable_from)
    FROM given WHERE token.key = given.key AND token.ciphertext IN (given.seen, given.ciphertext)
    RETURNING token.key
), added AS (
    INSERT INTO ekb_token (key, generation, ciphertext, issued, renew_from, unusable_from)
    SELECT key, generation, ciphertext, issued, renew_from, unusable_from FROM given WHERE seen IS NULL
    ON CONFLICT (key) DO NOTHING
    RETURNING key
)
SELECT key FROM changed UNION ALL SELECT key FROM added
"""


class TokenRow(NamedTuple):
    """A row as it was read; moments and `now`, the time of reading, are in epoch seconds of the database's clock."""

    token: EncryptedToken
    now: float


class NewToken(NamedTuple):
    """A token to write in place of the row that was read, None if there was none. Moments are seconds from now."""

    token: EncryptedToken
    replaced: TokenRow | None


async def read_rows(connection: Any, keys: Sequence[str]) -> dict[str, TokenRow]:
    """Return the rows with these keys; those that do not exist are left out."""
    rows = await connection.fetch(_READ, keys, timeout=_ANSWER_SECONDS)
    return {key: TokenRow(EncryptedToken(*token), now) for key, *token, now in rows}


async def write_rows(connection: Any, tokens: Mapping[str, NewToken]) -> set[str]:
    """Write rows that are still as they were read, and return their keys."""
    columns = zip(*(_texts(key, *each) for key, each in tokens.items()), strict=True)
    rows = await connection.fetch(_WRITE, *map(list, columns), timeout=_ANSWER_SECONDS)
    return {row["key"] for row in rows}


def _texts(key: str, token: EncryptedToken, replaced: TokenRow | None) -> tuple[str | None, ...]:
    generation, ciphertext, *moments = msgspec.structs.astuple(token)
    seen = None if replaced is None else replaced.token.ciphertext.hex()
    return key, seen, str(generation), ciphertext.hex(), *map(repr, moments)
