"""Reading a backlog without its first row: selected rows, calls as they end, equal answers, numbers for metrics.

May import `call_store` and what it may import. Start with `selecting`, then `ended`.
"""
