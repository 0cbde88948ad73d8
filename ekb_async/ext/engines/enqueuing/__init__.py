"""Adding calls by programs. Needs the extra `postgres`, and no engine.

May import what `ekb_async.ext.engines` may. Begin with `enqueuer`, then `adding`, `matching` and `sql`.

A program only writes calls and their rows, and notifies the workers: these plan the wakeups, since they have the rates
of the tenants and the engine. So a program can add calls within a transaction of its own, together with what it writes
itself, and needs one connection and few statements.
"""

import ekb_async.storage.postgres  # noqa: F401 - says what to install, before a module needs the driver
