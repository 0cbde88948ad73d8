"""Secrets and host names taken out of texts, reprs, logs and URLs before these are shown or stored.

Imports nothing of the package.
Start with `masking`.
"""
