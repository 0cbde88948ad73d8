"""The sections of a page: each makes, of the figures collected, what the templates show.

May import the modules beside `results.report`, `results.report.collected` and what they may import.
Begin with `attention` and `money`.
"""
