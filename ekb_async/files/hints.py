"""What to check when a file is not recognised, in words that fit the file that was given."""

from __future__ import annotations

from typing import NamedTuple

from ekb_async.errors import ApiError, EkbError, ProviderError, RecognitionError
from ekb_async.files.urls import CallFile


class _Hints(NamedTuple):
    of_upload: str
    of_attachment: str


_HINTS: dict[type[EkbError], _Hints] = {
    RecognitionError: _Hints(
        "Check that the file opens and shows an invoice.",
        "Check that the attachment opens and shows an invoice.",
    ),
    ProviderError: _Hints(
        "Check that the file opens and is an image or a PDF; otherwise try later.",
        "Check that the attachment opens and is an image or a PDF; otherwise try later.",
    ),
}


def fit_hint(error: EkbError, file: CallFile) -> None:
    """Let the hint of an error speak of what was given: the error's own one speaks of a URL."""
    hints = _HINTS.get(type(error))
    if hints is None or file.url is not None or not isinstance(error, ApiError):
        return
    error.hint = hints.of_attachment if file.was_attached else hints.of_upload
