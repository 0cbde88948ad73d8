"""Commands about a run: what it would do, the run itself, and how far it is.

May import `cli.backlog.options`, the modules beside `cli.backlog`, and what they may import.
Begin with `command`, then `status`.
"""
