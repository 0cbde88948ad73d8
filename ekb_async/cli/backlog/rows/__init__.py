"""Commands about the rows of a backlog: add, list, remove, retry, free and copy them.

May import `cli.backlog.options`, the modules beside `cli.backlog`, and what they may import.
Begin with `adding`, then `listing`.
"""
