"""Manifests that are workbooks (.xlsx): their ZIP, their XML, their cells as text, and their rows.

The workbook is read as a stream with the parser of the standard library, because its origin is unknown. Libraries that
read it whole allocate a table from its first to its last cell, gigabytes for a file of two cells, or lose the
difference between an empty cell and an error. Here memory is bounded by one row and the table of shared texts.

May import `backlog.input.manifests` and what that may import. Start with `sheet_rows`.
"""
