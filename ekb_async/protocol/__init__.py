"""The vendor's API without I/O: endpoints, requests, reading replies, mapping them to errors, when to retry.

May import `config`, `models`, `validation`, `redaction` and `errors`; neither asyncio nor I/O.
Start with `endpoints`, then `replies`.
"""
