"""The interface of an observer of a session: it sees every network attempt, every job and the counters of both.

Its methods are called once, when the session is first used. A session without an observer has no overhead.
"""

from __future__ import annotations

from typing import Protocol

from ekb_async.client.transport import Transport
from ekb_async.session.engine import Engine


class Observer(Protocol):
    """An observer of one session."""

    def transport(self, inner: Transport) -> Transport:
        """Return the transport of the session. It must pass requests on to `inner`, and close `inner` when closed."""
        ...

    def opened(self, engine: Engine) -> None:
        """Handle the first use of the session. The observer may set another `job_type` on the engine's queues."""
        ...
