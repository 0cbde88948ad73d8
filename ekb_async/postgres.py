"""The pace and the access tokens that several hosts share in PostgreSQL. Needs the extra `postgres`."""

from ekb_async.pacing.postgres import PostgresPace
from ekb_async.storage.postgres.schema import SchemaReport, install_schema
from ekb_async.tokens.postgres import PostgresTokens

__all__ = ["PostgresPace", "PostgresTokens", "SchemaReport", "install_schema"]
