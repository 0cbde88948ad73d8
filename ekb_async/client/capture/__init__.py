"""Captures what goes over the wire as a bundle: masked exchanges in a directory, for a bug report and to be replayed.

May import what `client` may, and `client.transport`.
Start with `transport`, then `recording` and `bundle`.
"""
