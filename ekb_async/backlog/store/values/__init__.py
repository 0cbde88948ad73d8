"""What a store takes and returns: calls, results, selections, answers, reports.

May import `backlog.input`, `models` and below. Start with `calls`.
"""
