"""The parts that test workers of both engines share; their settings come from the environment.

A killed worker is detected after seconds, not after most of a minute. The command of each engine imports a separate
module, so that a worker does not load the other engine.
"""

from __future__ import annotations

import json
import os

from ekb_async import AppCredentials, EkbSession, SessionConfig
from ekb_async.backlog import BacklogTiming
from ekb_async.ext.engines.timing import WorkerTiming

HEARTBEAT_TIMEOUT = 2.0
MARGIN = 0.15
TIMING = WorkerTiming(upkeep=1.0, stranded_after=8.0, backlog=BacklogTiming(dead_after=3.0))

# A worker always gets these variables from its test; the defaults only let this module be imported.
DSN = os.environ.get("EKB_TEST_DSN", "postgresql:///none")
CONFIG = SessionConfig(ocr_rate=float(os.environ.get("EKB_TEST_RATE", "1")), rate_guard=MARGIN)

_VENDORS: dict[str, list[str]] = json.loads(os.environ.get("EKB_TEST_VENDORS", "{}"))
"""Address, key and secret by tenant."""


def session_for_tenant(tenant: str) -> EkbSession:
    """Make the session of a tenant."""
    base_url, app_key, app_security = _VENDORS[tenant]
    keys = AppCredentials(app_key=app_key, app_security=app_security)
    return EkbSession(keys, base_url=base_url, config=CONFIG)
