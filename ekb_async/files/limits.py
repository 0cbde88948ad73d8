"""Tunables of the files room."""

from __future__ import annotations

import msgspec


class FileLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How far ahead files are uploaded and URLs fetched, what is cached, and how much of a file is inspected."""

    concurrent_uploads: int = 4
    """Uploads that a session runs at a time; each holds a file of up to 30 MB in memory."""
    upload_ahead_seconds: float = 10.0
    """Files of jobs whose slots open within this time are uploaded."""
    min_uploads_ahead: int = 4
    """Jobs at the front whose files are uploaded however far apart the slots are."""
    url_ahead_seconds: float = 0.5
    """URLs are fetched for jobs whose slots open within this time."""
    url_ahead_fetches: int = 3
    """URLs are fetched at least this many durations of the last fetch ahead, so that slots need not wait for them."""
    url_ahead_share: float = 0.25
    """Share of a URL's lifetime that fetching ahead uses up at most."""
    min_urls_ahead: int = 2
    """Jobs at the front that have a URL fetched however far apart the slots are, and that fail if that fails."""
    url_refetch_share: float = 0.5
    """A URL that will expire before its slot is fetched again only when this share of its lifetime is left: a new one
    would otherwise hardly be valid for longer.
    """
    url_margin_seconds: float = 60.0
    """Time before its end from which on a URL is no longer used: the vendor needs some to fetch the file."""
    url_margin_share: float = 0.1
    """The same as a share of the URL's lifetime; the smaller of the two applies."""
    cached_urls: int = 2_000
    """URLs kept before the expired ones are removed."""
    concurrent_url_requests: int = 2
    """Requests for download URLs that a session runs at a time, so that a slow one does not delay all others."""
    read_chunk_bytes: int = 256 * 1024
    """Bytes of a local file that are read at a time."""
    deciding_characters: int = 1024
    """Characters at the beginning of a file, blanks and comments left out, that decide what it is."""
    inspected_elements: int = 24
    """XML elements at the beginning of a file that are checked for those of an invoice or an error."""


LIMITS = FileLimits()
