"""How manifests are written: their encoding and columns, what their headings mean, numbers that a spreadsheet changed.

May import `fields` and `limits` of `backlog.input`, and nothing else of it. Start with `layout`.
"""
