"""How the vendor's JSON becomes a model: values coerced on access, nothing lost.

May import `redaction` and `errors`, nothing else of `models`.
Start with `model`, then `fields`.
"""
