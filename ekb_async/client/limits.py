"""Tunables of the client room."""

from __future__ import annotations

import msgspec


class ClientLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits, rates and caches of the transport and of one attempt."""

    max_reply_bytes: int = 64 * 1024 * 1024
    """A longer answer raises `ResponseError`; the largest documented one has a few hundred kilobytes."""
    max_file_bytes: int = 256 * 1024 * 1024
    """A longer file raises `ResponseError`; the vendor accepts files of at most 30 MB."""
    min_upload_bytes_per_second: int = 100_000
    """The time limit of an upload is extended by its size at this rate."""
    min_download_bytes_per_second: int = 10_000
    """The time limit of a download is extended by each piece's size at this rate; slower hosts are given up."""
    max_redirects: int = 5
    """Redirects followed for a file; the vendor's calls follow none."""
    cached_urls: int = 32
    """Parsed URLs kept per session, since most requests go to one of a few."""
    cached_ssl_contexts: int = 8
    """SSL contexts kept, one per combination of certificate variables: loading one takes a tenth of a second."""
    reason_characters: int = 200
    """Characters of aiohttp's own message that an error quotes."""


LIMITS = ClientLimits()
