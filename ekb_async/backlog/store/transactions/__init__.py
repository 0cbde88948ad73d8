"""Work within one transaction, whichever store it is on: importing rows, holding calls, counting what is spent.

May import `values`, and takes its statements as an argument. Start with `adding`, then `spending`.
"""
