"""How far a backlog is, in words: its status, budgets, pauses, what waits and what fails. Runs show that as well.

May import `cli.backlog.options`, the modules beside `cli.backlog`, and what they may import.
Begin with `status`.
"""
