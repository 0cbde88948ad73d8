"""The port for who watches a session: every attempt on the network, every job, and the numbers of both.

It is asked once, when the session is first used. A session that nobody watches pays nothing for it.
"""

from __future__ import annotations

from typing import Protocol

from ekb_async.client.transport import Transport
from ekb_async.session.engine import Engine


class Observer(Protocol):
    """Watches one session."""

    def transport(self, inner: Transport) -> Transport:
        """What the session is to send its requests through; it sends them on to `inner`, and closes it in the end."""
        ...

    def opened(self, engine: Engine) -> None:
        """The session is being used from now on. Its lanes may be given another `job_type`."""
        ...
