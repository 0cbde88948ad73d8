"""The calls about the enterprise itself: staff, licences, own names as a buyer, and the platform's address."""

from __future__ import annotations

from typing import Any

from ekb_async.sandbox.vendor.books.books import Books
from ekb_async.sandbox.vendor.books.enterprise import STAFF_KEYS
from ekb_async.sandbox.vendor.calls.handler import Handlers
from ekb_async.sandbox.vendor.exchange import (
    RefusedError,
    VendorRequest,
    check_batch,
    json_object,
    text_field,
    text_list,
    wrong_parameters,
)


class EnterpriseCalls:
    """Staff by identifiers, licences, payers and location."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self.handlers: Handlers = {
            "staff": self._staff,
            "licences": lambda _request, at: {"items": books.licences.items(at)},
            "payers": lambda _request, _at: {"items": [payer.item() for payer in books.payers]},
            "location": self._location,
        }

    def _staff(self, request: VendorRequest, _at: float) -> Any:
        body = json_object(request)
        key, values = text_field(body, "type"), text_list(body, "conditionIds")
        if key not in STAFF_KEYS:
            raise wrong_parameters()
        check_batch(values)
        # In no particular order, as for the other calls with many keys.
        return {"items": [person.item() for person in reversed(self._books.staff.find(key, values))]}

    def _location(self, request: VendorRequest, _at: float) -> Any:
        if request.query.get("corpId", "") != self._books.rules.corporation:
            # The status and text of this refusal are not documented.
            raise RefusedError(400, "企业不存在")
        address = self._books.rules.platform_url or self._books.base_url
        return {"value": f"{address.rstrip('/')}/"}
