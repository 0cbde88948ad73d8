"""Commands about a run: what it would do, the run itself, and its progress.

May import `cli.backlog.options`, `cli.backlog.showing`, the modules beside `cli.backlog`, and what they may import.
Begin with `command`, then `progress`.
"""
