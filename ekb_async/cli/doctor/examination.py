"""What several checks look at, each fetched once: the session, the first contact, and the first call."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import msgspec
from yarl import URL

from ekb_async import Licence
from ekb_async.cli.doctor.contact import Contact, first_contact
from ekb_async.cli.doctor.session import DoctorSession
from ekb_async.errors import EkbError

if TYPE_CHECKING:
    from ekb_async.client.capture.transport import CapturingTransport


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The options of the command."""

    timeout: float
    corporation: str = ""
    staff_id: str = ""
    is_paid: bool = False
    capture: Path | None = None
    """The directory of the bundle of all calls; None if they are not captured."""


class FirstCall(msgspec.Struct, frozen=True, kw_only=True):
    """The first call with the keys or the token: it lists the licences."""

    licences: list[Licence] = []
    error: EkbError | None = None
    corporation: str = ""
    """The corporation of the issued token; "" if it is not known."""
    is_token_issued: bool = False
    """Whether the vendor issued a token for the keys."""


class Examination:
    """One account on one machine, during an `async with` block."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.captured: CapturingTransport | None = None
        """What captures the calls of the session; None without a session, or if they are not captured."""
        self._session: DoctorSession | None = None
        self._contact: Contact | None = None
        self._first_call: FirstCall | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    @property
    def session(self) -> DoctorSession:
        """The session with the settings of the environment. Raises `ConfigError` if they cannot be used."""
        if self._session is None:
            self._session = DoctorSession.with_timeout(self.options.timeout)
            if self.options.capture is not None:
                self.captured = self._session.capture(self.options.capture)
        return self._session

    async def contact(self) -> Contact:
        """Return what the first request found."""
        if self._contact is None:
            base_url = self.session.base_url
            options = self.session.environment.options(URL(base_url))
            self._contact = await first_contact(base_url, options, self.options.timeout)
        return self._contact

    async def first_call(self) -> FirstCall:
        """Return what came of the first call."""
        if self._first_call is None:
            licences: list[Licence] = []
            failure: EkbError | None = None
            try:
                licences = await self.session.licences()
            except EkbError as error:
                failure = error
            watch = self.session.token_watch
            self._first_call = FirstCall(
                licences=licences, error=failure, corporation=watch.corporation, is_token_issued=watch.is_issued
            )
        return self._first_call

    async def vendor_time(self) -> float:
        """Return the vendor's time in epoch seconds, as far as its first reply shows it."""
        return time.time() + ((await self.contact()).clock_ahead or 0.0)
