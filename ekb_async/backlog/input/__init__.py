"""What users add: manifests, folders, archives, single files and rows, and what the vendor holds.

May import `files`, `models`, `einvoice` and below, nothing else of `backlog`.
Start with `manifest`. How a list is written is found in the rooms `manifests` (text) and `workbooks` (.xlsx); files
without a list are found in `sources`. `checking` decides what a row may have, `reading` what its file says.
"""
