"""The search of the ledger, 发票主体."""

from __future__ import annotations

from typing import Any

from ekb_async.sandbox.vendor import routes
from ekb_async.sandbox.vendor.books.books import Books
from ekb_async.sandbox.vendor.calls.handler import Handlers
from ekb_async.sandbox.vendor.exchange import (
    MAX_BATCH,
    RefusedError,
    VendorRequest,
    check_batch,
    json_object,
    wrong_parameters,
)


class LedgerCalls:
    """Invoices of the ledger by IDs, by codes, or page by page."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self.handlers: Handlers = {"ledger": self._search}

    def _search(self, request: VendorRequest, _at: float) -> Any:
        object_id = routes.object_id_of(request.path)
        if object_id not in self._books.rules.ledger_kinds:
            raise RefusedError(400, f"不支持的业务对象「{object_id}」")
        body = json_object(request)
        ledger = self._books.ledger
        if ids := _listed(body, "ids"):
            # In no particular order, as for the other calls with many IDs.
            return _found(ledger.by_ids(object_id, self._books.checked_ids(ids[::-1])))
        if codes := _listed(body, "codes"):
            return _found(ledger.by_codes(object_id, dict.fromkeys(codes[::-1])))
        total, items = ledger.page(object_id, *_page(body), self._books.rules.ledger_order)
        return {"count": total, "items": items}


def _found(items: list[Any]) -> Any:
    return {"count": len(items), "items": items}


def _listed(body: dict[str, Any], name: str) -> list[str]:
    """Return `ids` or `codes`, empty if they are not given. Raise the vendor's refusal of `[null]` and blanks."""
    values = body.get(name) or []
    if not isinstance(values, list):
        raise wrong_parameters()
    if any(value is None or (isinstance(value, str) and not value.strip()) for value in values):
        raise _nothing_asked()
    if not all(isinstance(value, str) for value in values):
        raise wrong_parameters()
    check_batch(values)
    return values


def _page(body: dict[str, Any]) -> tuple[int, int]:
    index, count = body.get("index"), body.get("count")
    if index is None or count is None:
        raise _nothing_asked()
    if not all(isinstance(value, int) and not isinstance(value, bool) for value in (index, count)):
        raise wrong_parameters()
    if index < 1:
        raise RefusedError(400, "当前页不能为0")
    if not 1 <= count <= MAX_BATCH:
        # The limit is documented, the text of the refusal is not.
        raise RefusedError(400, f"每页数量必须在1到{MAX_BATCH}之间")
    return index, count


def _nothing_asked() -> RefusedError:
    return RefusedError(400, "查询参数不能为空!!!")
