"""What connects sessions to other libraries, each module with an extra of its own.

May import `backlog`, `session`, `queue`, `protocol`, `client`, `storage` and everything below them.
Begin with `otel` for tracing, or with `engines` and then `pgqueuer` or `procrastinate` for workers on many hosts.
"""
