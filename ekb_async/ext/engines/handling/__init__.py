"""Handling wakeups: which call a wakeup gets, whether the call may be sent, its result, and the worker around all that.

May import what `ekb_async.ext.engines` has. Begin with `call_table`, then `dispatcher` and `worker`.
"""
