"""What the vendor keeps between calls: tokens, files and invoices.

May import `rules`, `exchange`, `routes` and `invoices`.
"""
