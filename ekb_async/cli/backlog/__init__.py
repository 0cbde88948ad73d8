"""`ekb backlog`: its commands, by what they are about.

May import the other modules of `ekb_async.cli`, but not `ekb_async.cli.app`, and what they may import.
Begin with `commands`, then `rows`, `running`, `showing`, `results` and `monitoring`.
"""
