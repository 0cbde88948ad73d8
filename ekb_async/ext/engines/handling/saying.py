"""What a worker writes into the call table about its pauses, so that other programs can show it."""

from __future__ import annotations

import asyncio
import logging

from ekb_async.backlog.run.shown.said import Said
from ekb_async.backlog.store.call_store import CallStore
from ekb_async.errors import EkbError
from ekb_async.ext.engines.handling.dispatcher import Dispatcher
from ekb_async.redaction.log_lines import OneLine

_log = logging.getLogger("ekb_async.engines")


async def say_pauses(store: CallStore, run_id: int, dispatcher: Dispatcher, interval: float) -> None:
    """Write which calls the worker pauses, whenever that has changed, until this is cancelled.

    It is looked at every `interval` seconds.
    """
    before = Said().encode()
    while True:
        await asyncio.sleep(interval)
        said = Said(paused=tuple(dispatcher.shown_pauses())).encode()
        if said == before:
            continue
        try:
            await store.say(run_id, said)
        except EkbError as error:
            # Whatever else the worker does with the database fails as well, and says so.
            _log.debug("the pauses could not be written: %s", OneLine(error))
        else:
            before = said
