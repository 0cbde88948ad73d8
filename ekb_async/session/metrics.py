"""The metrics of a session under flat names, as plain numbers, for StatsD, Prometheus and the like.

They are the counters and the current state of the pace, which no counter shows. A long interval indicates refusals, a
long wait other processes on the same pace; the duration of calls shows whether `max_running` of them keep up with it.

All values are read from existing state, and in a way that is safe from any thread: exporters have their own threads.
"""

from __future__ import annotations

from msgspec.structs import asdict

from ekb_async.session.engine import Engine

_LEARNED = {
    "margin": "margin_seconds",
    "refused": "refused_margin_seconds",
    "deviation": "answer_deviation_seconds",
}


def flat_metrics(engine: Engine) -> dict[str, int | float]:
    """Return all counters as `call.name`, and the state of each queue and of its pace in seconds."""
    found: dict[str, int | float] = {}
    counted = asdict(engine.stats())
    for call, counts in (*counted.pop("requests").items(), *counted.items()):
        for name, value in asdict(counts).items():
            found[f"{_plain(call)}.{name}"] = value
    for call, interface in engine.interfaces.items():
        found[f"{_plain(call)}.interval_seconds"] = interface.pace.interval
        found[f"{_plain(call)}.wait_seconds"] = interface.pace.wait()
        for name, value in asdict(interface.pace.learned()).items():
            found[f"{_plain(call)}.{_LEARNED[name]}"] = value
        found[f"{_plain(call)}.duration_seconds"] = interface.mean_duration
    return found


def _plain(call: str) -> str:
    """Return the name of a call without the dots that separate it from the name of a counter."""
    return call.replace(".", "_")
