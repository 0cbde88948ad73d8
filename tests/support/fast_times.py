"""Short times for backlogs and workers, so that tests detect the end of another process quickly."""

from __future__ import annotations

import msgspec

from ekb_async.backlog import BacklogTiming
from ekb_async.ext.engines.timing import WorkerTiming

DEAD_AFTER = 0.5

FAST_BACKLOG = BacklogTiming(
    dead_after=DEAD_AFTER, heartbeat=0.1, reconnect=0.05, silence=4.0, first_pause=0.05, other_runs=0.1, report=0.02
)
FAST_WORKER = WorkerTiming(upkeep=0.2, backlog=FAST_BACKLOG)
SHORT_PAUSES = msgspec.structs.replace(FAST_WORKER, first_pause=0.05, longest_pause=0.05)

ENVIRONMENT = {
    "EKB_TIMING": msgspec.json.encode(FAST_BACKLOG).decode(),
    "EKB_WORKER_TIMING": msgspec.json.encode(FAST_WORKER).decode(),
}
"""Variables that set these times in all processes that are started with them."""
