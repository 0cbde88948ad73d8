"""What comes before a billed call is submitted: the ledger, the bounds of the run, and the ID of a person.

May import `backlog.store`, `backlog.input`, `session` and below.
"""
