"""The recorded exchange that answers a request: the same request, else the next one to the same path.

A recorded path has the vendor's words and substitutes of IDs, so two paths are of the same interface if they have the
same words at the same places.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from urllib.parse import unquote

from ekb_async.client.capture.bundle import Exchange
from ekb_async.redaction.masking import MASK
from ekb_async.redaction.personal.harmless import SECRET_NAME
from ekb_async.redaction.personal.texts import PLACEHOLDER, is_vendors_segment
from ekb_async.sandbox.vendor.exchange import VendorRequest

_Key = tuple[str, ...]


class Recording:
    """The exchanges of a bundle by their requests, each with the position of those that were not used yet."""

    def __init__(self, exchanges: Iterable[Exchange]) -> None:
        recorded = list(exchanges)
        answered = {_interface(each.method, each.path) for each in recorded if not is_cancelled(each)}
        # A cancelled call shows nothing of the vendor, so it answers only where there is nothing else.
        useful = [e for e in recorded if not is_cancelled(e) or _interface(e.method, e.path) not in answered]
        self._same: dict[_Key, list[Exchange]] = defaultdict(list)
        self._same_path: dict[_Key, list[Exchange]] = defaultdict(list)
        self._same_interface: dict[_Key, list[Exchange]] = defaultdict(list)
        self._used: set[int] = set()
        for each in useful:
            self._same[_of_exchange(each)].append(each)
            self._same_path[_address(each.method, each.path)].append(each)
            self._same_interface[_interface(each.method, each.path)].append(each)

    def take(self, request: VendorRequest, base_url: str) -> Exchange | None:
        """Return the exchange that answers a request, None if there is none to its interface.

        Equal requests get their replies in the order of the recording, and the last one again and again. A request that
        was not recorded gets the next unused reply of its path, then of its interface, then the last one.
        """
        same = self._same.get(_of_request(request, base_url))
        if same:
            return self._next_unused(same) or same[-1]
        groups = [
            self._same_path.get(_address(request.method, request.path), []),
            self._same_interface.get(_interface(request.method, request.path), []),
        ]
        found = next(filter(None, map(self._next_unused, groups)), None)
        return found or next((group[-1] for group in groups if group), None)

    def _next_unused(self, exchanges: list[Exchange]) -> Exchange | None:
        found = next((each for each in exchanges if each.number not in self._used), None)
        if found is not None:
            self._used.add(found.number)
        return found


def is_cancelled(exchange: Exchange) -> bool:
    """Return whether the caller gave up the exchange."""
    return exchange.reply is None and exchange.error is not None and exchange.error.kind == "CancelledError"


def _of_exchange(exchange: Exchange) -> _Key:
    sent = exchange.upload.name if exchange.upload is not None else _canonical(exchange.body or "")
    return (*_address(exchange.method, exchange.path), *_parameters(exchange.query), sent)


def _of_request(request: VendorRequest, base_url: str) -> _Key:
    if request.upload is not None:
        sent = request.upload[0]
    else:
        sent = _canonical(request.body.decode(errors="replace").replace(base_url, PLACEHOLDER))
    return (*_address(request.method, request.path), *_parameters(request.query.items()), sent)


def _address(method: str, path: str) -> _Key:
    return (method, *map(unquote, path.split("/")))


def _interface(method: str, path: str) -> _Key:
    return (method, *(part if is_vendors_segment(part) else "*" for part in path.split("/")))


def _parameters(query: Iterable[tuple[str, str]]) -> _Key:
    """Return the query without secrets, which are not the same as in the recording."""
    return tuple(f"{name}={value}" for name, value in query if value != MASK and not SECRET_NAME.search(name))


def _canonical(body: str) -> str:
    try:
        return json.dumps(json.loads(body), sort_keys=True)
    except (ValueError, RecursionError):
        return body
