"""Rows, calls and answers of a backlog, stored in a file or a database.

May import `backlog.input`, `storage` and below. Start with `call_store`: the interface of both, and the life of a call
from claim to result, kills included. Its rooms: `values`, `transactions`, `changes`, `reading`, and the two stores.
"""
