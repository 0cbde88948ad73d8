"""Calls made by the workers of a job engine, on any number of hosts. Needs the extra `postgres`.

May import what `ekb_async.ext` may; the modules that depend on one engine stand there.
Begin with `wakeups`, then `plan`, then the room `handling`; `enqueuing` adds calls.

An engine (PgQueuer, procrastinate) stores jobs, hands them to workers when they are due, and hands them out again if a
worker died. It has no notion of billed calls, of tenants that share its workers, or of an interface that takes one
start a second. So its jobs are not calls but *wakeups*: "time for a verification for this tenant". The calls wait in
the call table of a backlog on PostgreSQL, and a wakeup takes the first of them by priority and age. An urgent call that
is added later goes with the next wakeup; a wakeup whose call is gone finds nothing to do; and if two workers are handed
the same wakeup, only one of them gets a call.

A wakeup passes two slots. Its *plan* slot is reserved when it is handed to the engine. It is coarse, one interval after
the slot before it: wakeups become due at the rate at which they can be used, so they do not fill the workers by
waiting, and those of a large tenant do not stand in front of a small one's. Its *gate* slot is exact. It comes from the
pace that all hosts share and is claimed just before the call is sent. If the gate slot is more than 2 s away, the
wakeup goes back to the engine with a new plan slot.
"""
