"""The tunables of this room. Limits that the vendor documents are in `endpoints`."""

from __future__ import annotations

import msgspec


class ProtocolLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a reply is read, how much of an error is shown, and how failed attempts are retried.

    A reply may have any length and is read on the event loop: the limits on bytes keep that to a few hundredths of a
    second.
    """

    # Reading results

    checked_reply_bytes: int = 262_144
    """Longest reply without an invoice number that is searched for other `inv…` fields."""
    long_reply_bytes: int = 262_144
    """Longest reply that is decoded without first checking that it may be a result."""
    reply_beginning_bytes: int = 65_536
    """Bytes at the beginning of a long reply that are checked."""
    comma_samples: int = 8
    """Samples of a long reply in which commas are counted: a list of many tiny values takes long to decode."""
    comma_sample_bytes: int = 1_024
    """Length of each of these samples."""
    bytes_per_comma: int = 8
    """Average distance of commas from which a long reply counts as one with long members, as documented results are."""

    # Reading errors

    searched_objects: int = 64
    """Objects and lists of a reply that are searched for an error; also list entries checked for a result."""
    searched_members: int = 64
    """Members of each object that are searched."""
    searched_entries: int = 16
    """Entries of each list that are searched."""
    error_json_bytes: int = 65_536
    """Bytes of a JSON body that are read for an error, and the longest member that is read behind them."""
    long_error_bytes: int = 4_194_304
    """Longest body that is searched for an error text behind long members."""
    bare_text_characters: int = 20_000
    """Bytes, and then characters, that are read of a body that is not JSON."""
    code_characters: int = 1_000
    """Characters of an error code or a request ID that are read, and of a text that is searched for failure words."""
    message_characters: int = 4_000
    """Characters of an error text that are read."""
    details_characters: int = 8_000
    """Characters of the error details that are read."""

    quoted_texts: int = 250
    """Texts of a request that are looked for in an error, since a quotation says nothing about the error."""
    quoted_characters: int = 2_000
    """Characters of each of them."""

    # Repairing replies

    encoding_sample_characters: int = 200_000
    """Characters of a damaged text from which its encoding is detected."""
    min_intact_cjk_characters: int = 8
    """Intact CJK characters that a damaged text needs to count as UTF-8 instead of GB18030."""
    intact_per_damaged_character: int = 8
    """Intact CJK characters for each damaged one that a text needs to count as UTF-8 instead of GB18030."""
    json_start_bytes: int = 8_192
    """Bytes at the beginning of a body in which JSON must start."""
    transcoded_bytes: int = 1_048_576
    """Longest JSON in another encoding that is read; the largest documented reply is a few hundred kilobytes."""
    malformed_bytes: int = 262_144
    """Longest malformed JSON that is read, which takes much longer."""
    closed_json_tokens: int = 10_000
    """Brackets, punctuation marks and strings that are read to close truncated JSON."""
    cached_content_types: int = 64
    """Content types whose charset is cached."""

    # Showing errors

    shown_code_characters: int = 40
    """Characters of a code in an error; a request ID may have twice as many."""
    shown_message_characters: int = 300
    """Characters of the vendor's text in an error."""
    shown_details_characters: int = 2_000
    """Characters of the details in an error."""

    # Time and retries

    clock_tolerance_seconds: float = 2.0
    """Difference to the vendor's clock that is ignored: a `Date` header has whole seconds and ages in transit."""
    first_backoff_seconds: float = 0.5
    """Wait before the first retry; it doubles with each further one."""
    backoff_jitter_share: float = 0.1
    """Share by which a wait is lengthened at random, so that clients do not retry at the same time."""
    provider_attempts: int = 3
    """Attempts of a call that the recognition provider fails; each may be billed."""
    refusals_per_call: int = 50
    """Refusals of one call for the rate, which are no tries, after which each counts as a try."""
    new_token_wait_seconds: float = 0.3
    """Wait before a call is repeated with a token that the vendor issued a moment ago and does not accept yet."""


LIMITS = ProtocolLimits()
