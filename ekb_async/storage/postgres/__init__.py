"""A PostgreSQL database that hosts share: its connections, the lease of a run, the tables and their versions.

May import the rest of `storage`, and what that may import.
Start with `database`, then `pool` and `lease`.
"""

from ekb_async.errors import ConfigError

try:
    import asyncpg  # noqa: F401 - checked here, before any module of the package needs it
except ImportError as error:
    raise ConfigError(
        f'PostgreSQL needs a library that is not there ({error}): pip install "ekb-async[postgres]"'
    ) from None
