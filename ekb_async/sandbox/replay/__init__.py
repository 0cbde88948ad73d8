"""Replays captured bundles on loopback.

May import what `sandbox` may, and `client` and below.
Start with `server`, then `recording`.
"""
