"""The vendor's API without I/O: endpoints, requests, how a reply is read, which error it is, when to retry.

May import `config`, `models`, `validation`, `redaction` and `errors`; no asyncio.
Start with `endpoints`, then `replies`.
"""
