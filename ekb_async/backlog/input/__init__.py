"""What users add: manifests, the folders that their files may lie in, the vendor's ledger, and the identity of a row.

May import `files`, `models` and below, nothing else of `backlog`.
Start with `manifest`; how its file is written is found in the room `manifests`.
"""
