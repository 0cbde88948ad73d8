"""The rule by which calls start one after another, and where its state is kept.

May import `storage`, `aio`, `validation`, `redaction` and `errors`.
Start with `rule`, then `shared`.
"""
