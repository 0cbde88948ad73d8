"""What hosts share in a PostgreSQL database. Needs the extra `postgres`."""

from ekb_async.errors import ConfigError

try:
    import asyncpg  # noqa: F401  (asked for here, so that one message tells what is missing)
except ImportError as error:
    raise ConfigError(
        f'PostgreSQL needs a library that is not there ({error}): pip install "ekb-async[postgres]"'
    ) from None

from ekb_async.pacing.postgres import PostgresPace
from ekb_async.storage.postgres_schema import install_schema
from ekb_async.tokens.postgres import PostgresTokens

__all__ = ["PostgresPace", "PostgresTokens", "install_schema"]
