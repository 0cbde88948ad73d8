"""Manifests that are workbooks (.xlsx): their ZIP, their XML, their cells as text, and their rows.

A workbook may come from anywhere, so it is read as a stream with the parser of the standard library, and memory is
bounded by one row and the table of shared texts. Libraries that read a sheet whole allocate every cell between its
first and its last one, gigabytes for a file of two cells, and show an error such as `#N/A` as an empty cell.

May import `manifests`, `zips`, `fields` and `limits` of `backlog.input`. Start with `sheet_rows`.
"""
