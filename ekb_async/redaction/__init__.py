"""Removes secrets and host names from texts, reprs, logs and URLs before they are shown or stored.

Imports nothing of the package.
Start with `masking`, then `signed_urls`.
"""
