"""`ekb demo`: a sample backlog on a local sandbox.

May import the other modules of `ekb_async.cli`, but not `ekb_async.cli.app`, and what they may import.
Begin with `command`, then `files` and `report`; `invoices` holds the sample files.
"""
