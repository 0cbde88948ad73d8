"""The rule by which the starts of rate-limited calls follow one another, and the stores of its state.

May import `storage`, `aio`, `validation`, `redaction` and `errors`; not `tokens` or anything above it.
Start with `rule`, then `shared`.
"""
