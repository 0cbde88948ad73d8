"""A worker by procrastinate: procrastinate --app=procrastinate_app.app worker"""

import os

from procrastinate import App, PsycopgConnector

from ekb_async import TenantCredentials
from ekb_async.ext.procrastinate import register

DSN = os.environ["EKB_DSN"]

app = App(connector=PsycopgConnector(conninfo=DSN))
register(app, TenantCredentials.read(os.environ["EKB_TENANTS"]), DSN)
