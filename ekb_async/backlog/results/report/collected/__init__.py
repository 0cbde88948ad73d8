"""The figures of a report, collected row by row in bounded memory.

May import the modules beside `results.report`, and what they may import.
Begin with `aggregate`, then `groups` and `found`.
"""
