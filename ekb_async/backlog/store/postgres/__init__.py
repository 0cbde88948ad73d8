"""A backlog in a PostgreSQL database, which several hosts share.

May import `backlog.store`, `storage` and below.
Start with `store`, then `sql`.
"""

import ekb_async.storage.postgres  # noqa: F401 - reports a missing library before the modules of this package need it
