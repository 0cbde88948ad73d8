"""A service that verifies invoices: uvicorn service:app --workers 2 --timeout-graceful-shutdown 30"""

import asyncio
import json
import logging
import math
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, Form, HTTPException, Request, UploadFile
from fastapi.responses import JSONResponse, StreamingResponse

from ekb_async import (
    ApiError,
    AuthError,
    ConfigError,
    EkbError,
    EkbSession,
    EkbTimeoutError,
    Job,
    MachinePace,
    MachineTokens,
    PermissionDeniedError,
    Priority,
    ProviderError,
    QueueFullError,
    QueueTimeoutError,
    ServerError,
    SessionClosedError,
    SessionConfig,
    ThrottledError,
    VerifyResult,
)

MAX_WAIT = 15.0  # seconds in the queue; together with a call, less than the time to shut down
LARGEST = 30 * 2**20  # bytes of an upload, the vendor's limit

log = logging.getLogger("uvicorn.error")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    config = SessionConfig(request_timeout=20)
    # Both are in files of this machine: all workers share one pace and one access token.
    async with EkbSession.from_env(config=config, pacer=MachinePace(), token_store=MachineTokens()) as app.state.ekb:
        yield


app = FastAPI(lifespan=lifespan)


def session_of(request: Request) -> EkbSession:
    ekb: EkbSession = request.app.state.ekb
    return ekb


Ekb = Annotated[EkbSession, Depends(session_of)]


async def submit(ekb: Ekb, file: UploadFile, staff_id: Annotated[str, Form()]) -> Job[VerifyResult]:
    content = await file.read(LARGEST + 1)  # of a larger file, this is enough to refuse it
    try:
        return ekb.submit_verify(
            content, file_name=file.filename, staff_id=staff_id, priority=Priority.HIGH, max_wait=MAX_WAIT
        )
    except ConfigError as error:  # the upload: empty, larger than 30 MB, a name with wrong characters
        raise HTTPException(400, str(error)) from None


Submitted = Annotated[Job[VerifyResult], Depends(submit)]


@app.post("/verify")
async def verify(job: Submitted) -> VerifyResult:
    return await job


@app.post("/verify/events")
async def verify_with_events(job: Submitted) -> StreamingResponse:
    return StreamingResponse(events(job), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


@app.get("/health")
async def health(ekb: Ekb) -> dict[str, float]:
    return {"worker": os.getpid(), **ekb.metrics()}


async def events(job: Job[VerifyResult]) -> AsyncIterator[str]:
    result = asyncio.ensure_future(job)
    try:
        while not result.done():
            yield event("state", {"state": job.state, "position": job.position, "eta": job.eta})
            await asyncio.wait([result], timeout=1)
        try:
            yield event("result", (await result).to_dict())
        except EkbError as error:
            status, detail, _ = explain(error)
            yield event("error", {"status": status, "detail": detail})
    finally:
        result.cancel()  # if the caller has gone: a job that still waits leaves the queue and costs nothing


def event(name: str, data: object) -> str:
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"


@app.exception_handler(EkbError)
async def refuse(_: Request, error: EkbError) -> JSONResponse:
    status, detail, wait = explain(error)
    headers = {} if wait is None else {"Retry-After": str(math.ceil(wait))}
    return JSONResponse({"detail": detail}, status, headers)


def explain(error: EkbError) -> tuple[int, str, float | None]:
    """Return the status, the text for the caller, and the seconds after which to try again."""
    answer: tuple[int, str, float | None]
    match error:
        case QueueTimeoutError():  # it was not sent; `eta` is when it would have been
            answer = 429, "too many invoices are waiting", max(error.eta, 1)
        case QueueFullError():
            answer = 503, "too many invoices are waiting", 60
        case SessionClosedError():  # this worker stops
            answer = 503, "the service is being restarted", 1
        case ThrottledError():  # another program calls for the same enterprise
            answer = 503, "the vendor is busy", error.retry_after or 1
        case ProviderError():
            answer = 503, error.message, 60
        case AuthError() | PermissionDeniedError() | ServerError():  # nothing that the caller can change
            answer = 502, "the vendor cannot serve this now", None
        case ApiError():  # the vendor refused the file or the person
            answer = 422, f"{error.message} {error.hint}", None
        case EkbTimeoutError():
            answer = 504, "the vendor did not answer in time", None
        case _:  # no answer, or none that can be read
            answer = 502, "the vendor cannot be reached", None
    if answer[0] >= 500:
        log.warning("verification failed: %r", error)  # errors contain no keys, tokens or signatures
    return answer
