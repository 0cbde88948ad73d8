"""What the workers of both engines have in common in the tests; their settings are in the environment.

Deaths are noticed after seconds here, and not after the better part of a minute. Each engine has a module of its own
that its command imports, so that a worker does not load the other one.
"""

from __future__ import annotations

import json
import os

from ekb_async import AppCredentials, EkbSession, SessionConfig
from ekb_async.backlog import BacklogTiming
from ekb_async.ext.engines.timing import WorkerTiming

HEARTBEAT_TIMEOUT = 2.0
GUARD = 0.15
TIMING = WorkerTiming(upkeep=1.0, stranded_after=8.0, backlog=BacklogTiming(dead_after=3.0))

# A worker does not start without the environment that its test gives it.
DSN = os.environ.get("EKB_TEST_DSN", "postgresql:///none")
CONFIG = SessionConfig(ocr_rate=float(os.environ.get("EKB_TEST_RATE", "1")), rate_guard=GUARD)

_VENDORS: dict[str, list[str]] = json.loads(os.environ.get("EKB_TEST_VENDORS", "{}"))
"""Address, key and secret by tenant."""


def session_for_tenant(tenant: str) -> EkbSession:
    """The session of a tenant."""
    base_url, app_key, app_security = _VENDORS[tenant]
    keys = AppCredentials(app_key=app_key, app_security=app_security)
    return EkbSession(keys, base_url=base_url, config=CONFIG)
