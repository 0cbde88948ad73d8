"""The parts of an open session, and the order in which they are closed.

One `Interface` per rate-limited call, one `Batcher` per call that takes many IDs, all over one `Api` with one token.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from ekb_async.aio.batch_search import may_be_one_keys_fault
from ekb_async.aio.batcher import Batcher, FewerKeysError
from ekb_async.aio.tasks import TaskScope
from ekb_async.client.attempt import Api
from ekb_async.client.hooks import Hooks
from ekb_async.config import AppCredentials, Credentials, SessionConfig
from ekb_async.errors import ApiError, ConfigError, EkbError, SessionClosedError
from ekb_async.files.urls import FileUrls
from ekb_async.models import InvoiceDetail, InvoiceUrl
from ekb_async.pacing.rule import Pacer
from ekb_async.protocol import endpoints
from ekb_async.protocol.clock import VendorClock
from ekb_async.protocol.endpoints import Endpoint
from ekb_async.queue.paced import CallQueue
from ekb_async.queue.stats import SessionStats
from ekb_async.session.interfaces import Interface
from ekb_async.session.limits import LIMITS
from ekb_async.session.records.lookups import LedgerLookup, StaffLookup
from ekb_async.tokens.store import TokenStore

if TYPE_CHECKING:
    from ekb_async.client.transport import Transport

T = TypeVar("T")
V = TypeVar("V")


class Engine:
    """The queues and batchers of one session, with the API and the token they share."""

    def __init__(
        self,
        credentials: Credentials,
        base_url: str,
        transport: Transport,
        pacer: Pacer,
        store: TokenStore,
        config: SessionConfig,
        hooks: Sequence[Hooks],
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self._config = config
        self.scope = TaskScope()
        clock = VendorClock(self.loop.time)
        self._enterprise = _enterprise(base_url, credentials)
        self.api = Api(credentials, transport, config, clock, self.scope, store, self._enterprise, hooks)
        self._file_urls = FileUrls(self.api, clock)
        self._pacer = pacer
        self.ocr = self._interface(endpoints.OCR, config.ocr_rate)
        self.verify = self._interface(endpoints.VERIFY, config.verify_rate)
        self.verify_by_id = self._interface(endpoints.VERIFY_BY_ID, config.verify_rate)
        self.verify_by_fields = self._interface(endpoints.VERIFY_BY_FIELDS, config.verify_rate)
        self._requested: dict[str, Interface] = {}
        """The interfaces of `EkbSession.request`."""
        self.urls = self._batcher("invoice_url", self._fetch_urls)
        self.details = self._batcher("invoice_details", self._fetch_details)
        self.ledger = LedgerLookup(self.api, config)
        self.staff = StaffLookup(self.api, config)
        self._direct = TaskScope()
        # Whether the deployment lacks the details call for many IDs.
        self._one_by_one = False
        self.closed = False

    def stats(self) -> SessionStats:
        """Return a snapshot of all counters."""
        return SessionStats(
            ocr=self.ocr.stats(),
            verify=self.verify.stats(),
            verify_by_id=self.verify_by_id.stats(),
            verify_by_fields=self.verify_by_fields.stats(),
            invoice_url=self.urls.stats(),
            invoice_details=self.details.stats(),
            ledger=self.ledger.batchers.stats(),
            staff=self.staff.batchers.stats(),
            requests={name: interface.stats() for name, interface in list(self._requested.items())},
        )

    @property
    def interfaces(self) -> dict[str, Interface]:
        """The rate-limited interfaces by the names of their calls."""
        return {
            "ocr": self.ocr,
            "verify": self.verify,
            "verify_by_id": self.verify_by_id,
            "verify_by_fields": self.verify_by_fields,
        } | self._requested.copy()

    @property
    def used_queues(self) -> list[CallQueue]:
        """The queues of the interfaces that calls were made to."""
        return [each.used_queue for each in self.interfaces.values() if each.used_queue is not None]

    def queue_of(self, interface: str, endpoint: Endpoint[object], rate: float) -> CallQueue:
        """Return the queue of an interface that is not declared, made with its first call.

        Raises `ConfigError` if it has another rate, has the name of a declared call, or if there are too many.
        """
        if interface in SessionStats.__struct_fields__:
            raise ConfigError(f"interface must not be the name of a call of this package, {interface}")
        if (known := self._requested.get(interface)) is not None:
            if known.rate != rate:
                raise ConfigError(
                    f"calls of one interface must have the same rate; earlier ones had rate={known.rate:g}"
                )
            return known.queue
        if self.closed:
            raise SessionClosedError("the session is closed")
        if len(self._requested) >= LIMITS.request_queues:
            raise ConfigError("too many interfaces with a rate: give calls that share one the same interface=")
        key = "" if interface.endswith(f" {endpoint.path}") else interface
        self._requested[interface] = added = self._interface(endpoint, rate, key)
        return added.queue

    async def direct(self, call: Coroutine[Any, Any, T]) -> T:
        """Run a call that goes through neither queue nor batcher, so that closing the session waits for it.

        Raises `SessionClosedError` if closing the session cancelled the call.
        """
        task = self._direct.start(call, name="ekb call")
        try:
            return await task
        except asyncio.CancelledError:
            if self.closed and task.cancelled():
                raise SessionClosedError("the session was closed while the call was running") from None
            raise

    async def close(self) -> None:
        """Wait up to `close_timeout` seconds for running calls, then cancel them; close the shared parts last."""
        self.closed = True
        timeout = self._config.close_timeout
        batchers = (self.urls, self.details, self.ledger.batchers, self.staff.batchers)
        await asyncio.gather(
            *(queue.close(timeout) for queue in self.used_queues),
            *(batcher.close(timeout) for batcher in batchers),
            self._direct.finish(timeout),
        )
        await self._file_urls.close()
        await self.scope.finish(0)
        await asyncio.gather(self.api.tokens.close(), *(each.pace.close() for each in self.interfaces.values()))

    def _interface(self, endpoint: Endpoint[object], rate: float, interface: str = "") -> Interface:
        config = self._config
        # The vendor's limit is that of the path, whatever the call is named.
        key = f"{self._enterprise} {interface or endpoint.path}"
        pace = self._pacer.pace(key, rate, config.rate_guard, config.max_backoff)
        make = functools.partial(CallQueue, endpoint, rate, self.api, pace, self._file_urls, config)
        return Interface(rate, pace, make)

    def _batcher(self, name: str, fetch: Callable[[list[str]], Awaitable[Mapping[str, V]]]) -> Batcher[str, V]:
        return Batcher(name, fetch, size=self._config.batch_size, in_flight=self._config.batch_in_flight)

    async def _fetch_urls(self, invoice_ids: Sequence[str]) -> Mapping[str, InvoiceUrl]:
        links = await self.api.call(endpoints.invoice_urls(invoice_ids))
        return {invoice_id: link for link in links if (invoice_id := link.id) is not None}

    async def _fetch_details(self, invoice_ids: Sequence[str]) -> Mapping[str, list[InvoiceDetail]]:
        first = invoice_ids[0]
        if self._one_by_one:
            if len(invoice_ids) > 1:
                raise FewerKeysError({})
            return {first: await self.api.call(endpoints.details(first))}
        try:
            return _by_invoice(invoice_ids, await self.api.call(endpoints.details_many(invoice_ids)))
        except ApiError as error:
            if not error.is_absent:
                raise
        # A private deployment may lack the call for many IDs. If it lacks that for one as well, the address is wrong.
        found: dict[str, list[InvoiceDetail]] = {}
        try:
            found[first] = await self.api.call(endpoints.details(first))
        except EkbError as error:
            if len(invoice_ids) == 1 or not may_be_one_keys_fault(error):
                raise
        self._one_by_one = True
        self.details.size = 1
        if len(invoice_ids) > 1:
            raise FewerKeysError(found)
        return found


def _enterprise(base_url: str, credentials: Credentials) -> str:
    """Return a key for the enterprise, for which the vendor's limits hold. It reveals neither key nor token."""
    identity = credentials.app_key if isinstance(credentials, AppCredentials) else credentials.token
    return hashlib.sha256(f"{base_url}\n{identity}".encode()).hexdigest()


def _by_invoice(invoice_ids: Iterable[str], lines: Iterable[InvoiceDetail]) -> dict[str, list[InvoiceDetail]]:
    found: dict[str, list[InvoiceDetail]] = {invoice_id: [] for invoice_id in invoice_ids}
    for line in lines:
        if line.invoice_id in found:
            found[line.invoice_id].append(line)
    return found
