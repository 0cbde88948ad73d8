"""A stored call from its file to its result, as runs and the workers of job engines make it.

May import `run.before`, `store` and `session`. Start with `stored_calls`.
"""
