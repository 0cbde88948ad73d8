"""`ekb backlog`: its commands, the status of a backlog, and the progress of a run.

May import the other modules of `ekb_async.cli`, but not `ekb_async.cli.app`, and what they may import.
Begin with `commands`; `rows`, `running` and `results` have the commands by what they are about.
"""
