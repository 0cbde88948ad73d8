"""The calls, one module per subject: a request and its time of arrival in, the body of the answer out.

May import everything of `vendor` but `vendor` itself. Each class maps names of calls to its methods in `handlers`.
"""
