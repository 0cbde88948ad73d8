"""Commands that show results to people: exports and pages.

May import `cli.backlog.options`, the modules beside `cli.backlog`, and what they may import.
Begin with `exporting`.
"""
