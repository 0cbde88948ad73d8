"""Changes of a backlog at a person's request, page by page: removing, retrying, pausing, copying.

May import `call_store` and what it may import. Start with `removal`, the simplest.
"""
