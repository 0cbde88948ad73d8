"""The rule by which the starts of rate-limited calls follow one another, and the stores of its state.

May import `protocol`, `storage` and the rooms below them, nothing of `tokens`.
Start with `rule`, then `shared`.
"""
