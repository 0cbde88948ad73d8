"""The numbers of a session as metrics: flat names, plain values, for StatsD, Prometheus and the like.

To what has been counted comes how the pace stands, which no counter shows: a wide interval tells of refusals, a long
wait of other processes on the same pace, and the duration of calls whether `max_running` of them keep up with it.

All of it is read from what is kept anyway, and in a way in which any thread may: exporters have threads of their own.
"""

from __future__ import annotations

from msgspec.structs import asdict

from ekb_async.session.engine import Engine


def flat_metrics(engine: Engine) -> dict[str, int | float]:
    """Each number of `SessionStats` under `call.name`, with seconds from start to start, to the next, and of a call."""
    found: dict[str, int | float] = {}
    for call, counts in asdict(engine.stats()).items():
        for name, value in asdict(counts).items():
            found[f"{call}.{name}"] = value
    for call, lane in engine.paced.items():
        found[f"{call}.interval_seconds"] = lane.interval
        found[f"{call}.wait_seconds"] = lane.wait
        found[f"{call}.duration_seconds"] = lane.mean_duration
    return found
