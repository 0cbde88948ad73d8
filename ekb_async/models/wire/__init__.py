"""Decoding of the vendor's JSON into models: values are coerced on access, and all bytes are kept.

May import `redaction` and `errors`, nothing else of `models`.
Start with `model`, then `fields`.
"""
