"""One row of what users add: its kind, its values, its person, and the identity of its call.

May import `files`, `models` and below. Start with `row` and `kinds`.
"""
