"""The check that costs money: one OCR call, made only on request."""

from __future__ import annotations

import base64

from ekb_async.cli.doctor.examination import Examination
from ekb_async.cli.doctor.findings import Finding, failed, failure, ok, skipped, try_again, warning
from ekb_async.cli.language import texts
from ekb_async.cli.runner import message_of
from ekb_async.errors import EkbError, ProviderError, QueueTimeoutError, RecognitionError

_IMAGE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAsTj2FAAAAABJRU5ErkJggg=="
)
"""A PNG of one white pixel."""


async def call(examination: Examination) -> Finding:
    """Make one OCR call of an image without an invoice. It is billed."""
    if not examination.options.is_paid:
        return skipped(texts("an OCR call is billed; --paid makes one"))
    session = examination.session
    try:
        image = await session.upload(_IMAGE, "ekb-doctor.png")
        urls = await session.download_urls([image])
    except EkbError as error:
        return failure(texts("no call was made, since its image could not be uploaded"), error)
    if image not in urls:
        return failed(texts("no call was made, since the vendor gave no URL for its image"), try_again())
    # A call with the attachment might be repeated with a fresh URL, and be billed twice.
    return await _call(examination, urls[image].url)


async def _call(examination: Examination, url: str) -> Finding:
    timeout = examination.options.timeout
    try:
        await examination.session.ocr(url, max_wait=timeout, timeout=timeout)
    except (RecognitionError, ProviderError) as error:
        answer = message_of(error)
        return ok(
            texts(
                "one call was made, and the interface works: {answer}, for an image without an invoice", answer=answer
            )
        )
    except QueueTimeoutError:
        advice = texts("Try again when no other program makes OCR calls for this enterprise.")
        return warning(texts("no call was accepted within {seconds:g} s", seconds=timeout), advice)
    except EkbError as error:
        return failure(texts("one call was made"), error)
    return ok(texts("one call was made, and the interface works"))
