"""Processes that read invoice files by the thousand, kept from one call to the next.

May import the reader of `einvoice`, and what that may import.
Begin with `pool`; `process` is its side of a process, `worker` what runs there.
"""
