"""What users add besides manifests: folders, ZIP archives, and single files of invoices.

Everything here blocks and belongs in a thread. May import `manifest` of `backlog.input` and what that may import. Start
with `sources`.
"""
