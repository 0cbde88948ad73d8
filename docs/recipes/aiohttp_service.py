"""A service that verifies invoices: python service.py"""

import asyncio
import logging
import math
import os
from collections.abc import AsyncIterator

from aiohttp import web
from aiohttp.typedefs import Handler

from ekb_async import (
    ApiError,
    AuthError,
    ConfigError,
    EkbError,
    EkbSession,
    MachinePace,
    MachineTokens,
    PermissionDeniedError,
    Priority,
    ProviderError,
    QueueTimeoutError,
    ServerError,
    SessionConfig,
    ThrottledError,
)

EKB = web.AppKey("ekb", EkbSession)
MAX_WAIT = 15.0  # seconds in the queue; together with a call, less than the time to shut down


async def ekb_session(app: web.Application) -> AsyncIterator[None]:
    config = SessionConfig(request_timeout=20)
    # Both are in files of this machine: all processes share one pace and one access token.
    async with EkbSession.from_env(config=config, pacer=MachinePace(), token_store=MachineTokens()) as app[EKB]:
        yield


async def verify(request: web.Request) -> web.Response:
    form = await request.post()
    file, staff_id = form.get("file"), form.get("staff_id")
    if not isinstance(file, web.FileField) or not isinstance(staff_id, str):
        raise web.HTTPBadRequest(text="send the form fields file and staff_id")
    content = await asyncio.to_thread(file.file.read)
    try:
        job = request.app[EKB].submit_verify(
            content, file_name=file.filename, staff_id=staff_id, priority=Priority.HIGH, max_wait=MAX_WAIT
        )
    except ConfigError as error:  # the upload: empty, or a name with wrong characters
        raise web.HTTPBadRequest(text=str(error)) from None
    return web.json_response((await job).to_dict())


@web.middleware
async def explain(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except QueueTimeoutError as error:  # it was not sent; `eta` is when it would have been
        wait = math.ceil(max(error.eta, 1))
        return web.Response(status=429, text="too many invoices are waiting", headers={"Retry-After": str(wait)})
    except (AuthError, PermissionDeniedError, ProviderError, ServerError, ThrottledError) as error:
        # Nothing that the caller can change.
        logging.warning("verification failed: %r", error)
        return web.Response(status=502, text="the vendor cannot serve this now")
    except ApiError as error:  # the vendor refused the file or the person
        return web.Response(status=422, text=f"{error.message} {error.hint}")
    except EkbError as error:
        logging.warning("verification failed: %r", error)
        return web.Response(status=502, text="the vendor cannot be reached")


def make_app() -> web.Application:
    app = web.Application(middlewares=[explain], client_max_size=31 * 2**20)
    app.cleanup_ctx.append(ekb_session)
    app.router.add_post("/verify", verify)
    return app


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    web.run_app(make_app(), host="127.0.0.1", port=int(os.environ.get("PORT", "8080")), shutdown_timeout=40)
