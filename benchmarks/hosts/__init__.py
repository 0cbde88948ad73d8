"""hosts: calls for many tenants, made by workers of an engine that share a PostgreSQL.

The vendor allows each tenant a number of requests a second, from all workers together, and refuses a request that
comes too early. All workers are PgQueuer's own command with the same number of places; the peers are the usual programs
with PgQueuer alone. Either a job waits for its tenant's slot in the worker, where it occupies a place, or it is handed
out again and again until the slot is there. The clock starts when all calls are enqueued, large tenants first. A
contestant that is not done at the limit is stopped, and its unfinished calls count as done at the limit.
"""

from __future__ import annotations

from benchmarks.contest import Benchmark, Case, Contestant, Figure, Goal
from benchmarks.hosts.load import Access, Load, Tenants
from benchmarks.hosts.vendor import strict_vendor
from benchmarks.hosts.workers import measure


def _contestant(
    name: str, module: str, factory: str, access: Access = Access.GIVEN, cases: tuple[str, ...] = ()
) -> Contestant[Load]:
    return Contestant(name, lambda load, base_url: measure(load, base_url, module, factory, access), cases)


_MIXED, _MANY = "50 tenants", "1,000 tenants"
_COLD, _WARM = "ekb_async, app keys, cold", "ekb_async, app keys, warm"

BENCHMARK = Benchmark(
    name="hosts",
    title="two workers of an engine, many tenants with a strict rate each",
    figures=(
        Figure("small", "small done, s"),
        Figure("medium", "medium done, s"),
        Figure("large", "large done, s"),
        Figure("made", "made, %"),
        Figure("dispatches", "dispatches per call", 2),
        Figure("refused", "refused, %"),
        Figure("twice", "made twice", 0),
        Figure("tokens", "tokens per tenant", 0),
    ),
    cases=(
        Case(
            _MIXED,
            Load(
                (Tenants("large", 10, 120), Tenants("medium", 15, 30), Tenants("small", 25, 4)),
                rate=2,
                latency=0.2,
                workers=2,
                places=20,
                limit=100,
            ),
            Load(
                (Tenants("large", 2, 6), Tenants("medium", 2, 4), Tenants("small", 4, 2)),
                rate=10,
                latency=0.05,
                workers=1,
                places=4,
                limit=5,
            ),
            rounds=1,
        ),
        Case(
            _MANY,
            Load((Tenants("small", 1000, 5),), rate=1, latency=0.2, workers=2, places=500, limit=100),
            Load((Tenants("small", 20, 2),), rate=10, latency=0.05, workers=1, places=20, limit=5),
            rounds=1,
            is_another_size=True,
        ),
    ),
    contestants=(
        _contestant("ekb_async", "ours", "worker"),
        _contestant(_COLD, "ours", "worker", Access.COLD, (_MANY,)),
        _contestant(_WARM, "ours", "worker", Access.WARM, (_MANY,)),
        _contestant("PgQueuer, waiting", "peers", "waiting"),
        _contestant("PgQueuer, retrying", "peers", "retrying"),
    ),
    goals=(
        Goal(
            says="50 tenants: the small ones are done within 1 s of the ideal 1.7 s",
            value=lambda results: results.ours(_MIXED, "small"),
            at_most=1.7 + 1,
        ),
        Goal(
            says="50 tenants: the large ones are done within 2 % of the ideal 59.7 s",
            value=lambda results: results.ours(_MIXED, "large"),
            at_most=59.7 * 1.02,
        ),
        Goal(
            says="50 tenants: at most 1.1 dispatches per call",
            value=lambda results: results.ours(_MIXED, "dispatches"),
            at_most=1.1,
        ),
        Goal(
            says="1,000 tenants: 5 calls each within 6 s",
            value=lambda results: results.ours(_MANY, "small"),
            at_most=6,
        ),
        Goal(
            says="1,000 tenants with app keys, cold: at most 1.3 times as long as with given tokens",
            value=lambda results: results.ratio(_MANY, "small", of=_COLD),
            at_most=1.3,
        ),
        Goal(
            says="1,000 tenants with app keys, warm: at most 1.1 times as long as with given tokens",
            value=lambda results: results.ratio(_MANY, "small", of=_WARM),
            at_most=1.1,
        ),
        Goal(
            says="1,000 tenants with app keys, cold: one token per tenant",
            value=lambda results: results.ratio(_MANY, "tokens", of=_COLD, to=_WARM),
            at_most=1,
        ),
        Goal(
            says="no call is made twice",
            value=lambda results: results.ours(_MIXED, "twice") + results.ours(_MANY, "twice"),
            at_most=0,
        ),
    ),
    serve=strict_vendor,
    drawn=("small", "made", "dispatches"),
)
