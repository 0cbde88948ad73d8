"""The app for procrastinate's command, as in the documentation."""

from __future__ import annotations

import os

from procrastinate import App, PsycopgConnector

from benchmarks.trouble.ways import DSN, TENANTS
from ekb_async import TenantCredentials
from ekb_async.ext.procrastinate import register

dsn = os.environ[DSN]
app = App(connector=PsycopgConnector(conninfo=dsn))
register(app, TenantCredentials.read(os.environ[TENANTS]), dsn)
