"""Calls that an engine of jobs brings to their turn on any number of hosts. Needs the extra `postgres`.

An engine (PgQueuer, procrastinate) keeps jobs, hands them to workers when they are due, and again if a worker died. It
knows nothing of money, of tenants that share its workers, or of an interface that takes one start a second. So its jobs
are not calls but *turns*: "it is time for a verification for this tenant". The calls wait in the ledger, the tables of
a backlog on PostgreSQL, and a turn takes the first of them, by class and age, when it comes. A call added in a higher
class goes with the next turn there is, a call that is gone leaves a turn that finds nothing, and of two workers that
were given the same turn only one gets a call.

A turn passes two slots. Its *plan* slot is reserved when it is handed to the engine, coarse, an interval after the one
before it: turns become due at the rate at which they can be used, so no worker is full of those that wait, and those of
a large tenant do not stand in front of a small one's. Its *gate* slot is exact, from the pace that all hosts share, and
is claimed just before the call leaves. Who would wait longer than 2 s there goes back to the engine with a new plan
slot.

`wakeups` has what these are called, `plan` the first slot, `ledger` the tables, `dispatcher` what a worker does with a
turn, `worker` what a worker consists of. What depends on the engine is in `ekb_async.ext`.
"""
