"""What hosts share in PostgreSQL: the pace, the access tokens, and calls for workers. Needs the extra `postgres`."""

from ekb_async.ext.engines.enqueuing.enqueuer import Enqueuer, EnqueueReport
from ekb_async.ext.engines.jobs import InvoiceJob
from ekb_async.pacing.postgres import PostgresPace
from ekb_async.storage.postgres.schema import SchemaReport, install_schema
from ekb_async.tokens.postgres import PostgresTokens

__all__ = [
    "EnqueueReport",
    "Enqueuer",
    "InvoiceJob",
    "PostgresPace",
    "PostgresTokens",
    "SchemaReport",
    "install_schema",
]
