"""Masks personal data in what is stored for a bug report: everything that is not known to be harmless.

May import `redaction` and nothing else of the package.
Start with `recorded`, then `json_text` and `texts`.
"""
