"""Commands of `ekb backlog` for monitoring systems and probes. Nothing is created or changed in a backlog."""
