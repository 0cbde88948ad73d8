"""`CustomTag.xml` of an OFD file: which text objects on the pages hold which field.

Old issuers write `<:eInvoice xmlns:="">`, which no XML parser accepts, so the tags are read by a pattern and a stack.
Only names and numbers of objects are of interest. One pattern matches at any place without backtracking.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ekb_async.einvoice.limits import LIMITS

_TOKEN = re.compile(
    r"<(?P<close>/?)(?P<name>[A-Za-z:_][A-Za-z0-9:._-]{0,80})(?P<rest>[^<>]{0,2000})>|(?P<text>[^<]+)|<"
)
_REFERENCE, _HOLDER = "ObjectRef", "ObjectData"

NAMES = {
    "code": ("InvoiceCode",),
    "number": ("InvoiceNo", "InvoiceNumber", "EIid"),
    "date": ("IssueDate", "RequestTime", "IssueTime"),
    "amount_excluding_tax": ("TaxExclusiveTotalAmount", "TotalAmWithoutTax"),
    "tax": ("TaxTotalAmount", "TotalTaxAm"),
    "total": ("TaxInclusiveTotalAmount", "TotalTax-includedAmount"),
    "check_code": ("InvoiceCheckCode",),
    "seller": ("SellerName",),
    "seller_tax_id": ("SellerTaxID", "SellerIdNum"),
    "buyer": ("BuyerName",),
    "buyer_tax_id": ("BuyerTaxID", "BuyerIdNum"),
}
"""The fields, by the tags of both families: `root` or `eInvoice`, and the tax platform's `EInvoice`."""


def references(tags: str) -> dict[str, list[str]]:
    """Return the numbers of the text objects by the name of the tag that refers to them, in the order of the file."""
    found: dict[str, list[str]] = {}
    path: list[str] = []
    for count, token in enumerate(_TOKEN.finditer(tags)):
        if count > LIMITS.xml_nodes or len(path) > LIMITS.xml_depth:
            raise ValueError("these tags are too many, or too deep")
        name = (token["name"] or "").rpartition(":")[2]
        if token["close"]:
            if name in path:
                while path.pop() != name:
                    pass
        elif name:
            if not token["rest"].endswith("/"):
                path.append(name)
        elif token["text"] and path and path[-1] == _REFERENCE:
            owner = next((each for each in reversed(path) if each not in {_REFERENCE, _HOLDER}), "")
            found.setdefault(owner, []).append(token["text"].strip())
    return found


def texts_of(referred: Mapping[str, list[str]], objects: Mapping[str, str]) -> dict[str, str | None]:
    """Return the text of each field, joined from its text objects; ¥ and the number are two objects."""
    return {
        field: _text([referred[name] for name in names if name in referred], objects) for field, names in NAMES.items()
    }


def _text(choices: list[list[str]], objects: Mapping[str, str]) -> str | None:
    for refs in choices:
        if text := "".join(objects.get(ref, "") for ref in refs).strip():
            return text
    return None
