"""Manifests that are workbooks (.xlsx), read by openpyxl, an extra that is imported on first use.

A workbook may come from anywhere, so its parts are measured before openpyxl parses them, and its rows are read as a
stream.

May import `manifests`, `zips`, `fields` and `limits` of `backlog.input`. Start with `sheet_rows`.
"""
