"""What hosts share in a PostgreSQL database. Needs the extra `postgres`."""

from ekb_async.pacing.postgres import PostgresPace
from ekb_async.storage.postgres_schema import install_schema
from ekb_async.tokens.postgres import PostgresTokens

__all__ = ["PostgresPace", "PostgresTokens", "install_schema"]
