"""What the vendor keeps between calls: tokens, files, invoices, documents and the enterprise itself.

May import `rules`, `exchange`, `routes` and `invoices`.
"""
