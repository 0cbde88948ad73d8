"""The vendor's records: invoices of the ledger, documents and staff, looked up in batches or read page by page.

May import `client`, `protocol` and below.
Start with `lookups`, then `ledger_walk`.
"""
