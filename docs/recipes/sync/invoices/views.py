"""A view that verifies an uploaded invoice."""

import functools
import logging
import math

from django.core.exceptions import BadRequest
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST
from ekb_portal import ekb

from ekb_async import (
    ApiError,
    AuthError,
    ConfigError,
    EkbError,
    EkbSession,
    PermissionDeniedError,
    Priority,
    ProviderError,
    QueueTimeoutError,
    ServerError,
    ThrottledError,
    VerifyResult,
)

LARGEST = 30 * 2**20  # bytes of an upload, the vendor's limit

log = logging.getLogger(__name__)


async def verified(content: bytes, name: str, staff_id: str, session: EkbSession) -> VerifyResult:
    try:
        job = session.submit_verify(content, file_name=name, staff_id=staff_id, priority=Priority.HIGH, max_wait=15)
    except ConfigError as error:  # the upload: empty, larger than 30 MB, a name with wrong characters
        raise BadRequest(str(error)) from None
    return await job


@csrf_exempt  # for programs; leave it out for forms of your own pages
@require_POST
def verify(request: HttpRequest) -> JsonResponse:
    upload, staff_id = request.FILES.get("file"), request.POST.get("staff_id")
    if upload is None or not staff_id:
        raise BadRequest("send the form fields file and staff_id")
    content = upload.read(LARGEST + 1)  # of a larger file, this is enough to refuse it
    try:
        result = ekb.call(functools.partial(verified, content, upload.name, staff_id))
    except QueueTimeoutError as error:  # it was not sent; `eta` is when it would have been
        wait = str(math.ceil(max(error.eta, 1)))
        return JsonResponse({"detail": "too many invoices are waiting"}, status=429, headers={"Retry-After": wait})
    except (AuthError, PermissionDeniedError, ProviderError, ServerError, ThrottledError) as error:
        # Nothing that the caller can change.
        log.warning("verification failed: %r", error)
        return JsonResponse({"detail": "the vendor cannot serve this now"}, status=502)
    except ApiError as error:  # the vendor refused the file or the person
        return JsonResponse({"detail": f"{error.message} {error.hint}"}, status=422)
    except EkbError as error:
        log.warning("verification failed: %r", error)
        return JsonResponse({"detail": "the vendor cannot be reached"}, status=502)
    return JsonResponse(result.to_dict())
