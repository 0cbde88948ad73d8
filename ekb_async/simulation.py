"""Virtual time for tests; see `ekb_async.sandbox.virtual_time`."""

from ekb_async.sandbox.virtual_time import InMemoryTransport, VirtualTimeLoop

__all__ = ["InMemoryTransport", "VirtualTimeLoop"]
