"""The evidence of a file as invoices: grouped by identity, and compared.

Evidence in one place (a page, a picture, a record) is about one invoice, unless a single source there names several.
If different sources there name different invoices, the place contradicts itself, and its invoice has no identity. The
evidence of different places is joined by identity and by nothing else. Values that differ become conflicts; no source
outvotes another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

import msgspec

from ekb_async.einvoice.identity import keys, kind_of_code
from ekb_async.einvoice.model import EInvoice, Evidence, Source, Unit
from ekb_async.models.kinds import InvoiceKind
from ekb_async.models.wire.exact import EXACT, exactly

COMPUTED = "computed"
FILE_NAME = "file-name"

_DIGITAL = 20
"""Length of the identity of a digital invoice; no other one is as long."""
_AMOUNTS = ("amount_excluding_tax", "tax", "total")
_PARTIES = ("seller", "seller_tax_id", "buyer", "buyer_tax_id")
_FIELDS = ("kind", "code", "number", "date", *_AMOUNTS, "check_code", *_PARTIES, "red_letter_of")
_SPECIAL = {
    *(InvoiceKind.VAT_SPECIAL, InvoiceKind.VAT_SPECIAL_ELECTRONIC),
    *(InvoiceKind.DIGITAL_SPECIAL, InvoiceKind.DIGITAL_SPECIAL_PAPER),
}
_NORMAL = {
    *(InvoiceKind.VAT_NORMAL, InvoiceKind.VAT_NORMAL_ELECTRONIC),
    *(InvoiceKind.DIGITAL_NORMAL, InvoiceKind.DIGITAL_NORMAL_PAPER),
}


class _Group(msgspec.Struct, eq=False):
    """Evidence about one invoice. `disputed` are the identities between which its sources disagree."""

    evidence: list[Evidence]
    names: list[str]
    disputed: list[str] = []

    @property
    def keys(self) -> list[str]:
        return list(dict.fromkeys(key for each in self.evidence for key in keys(each)))

    def absorb(self, other: _Group) -> None:
        self.evidence += other.evidence
        self.names += other.names


class _Groups:
    """Groups in their order, found by their identities; a disputed one is found by none."""

    def __init__(self) -> None:
        self._members: dict[_Group, None] = {}
        self._by_key: dict[str, _Group] = {}

    def __iter__(self) -> Iterator[_Group]:
        return iter(self._members)

    def add(self, new: _Group) -> None:
        """Add a group, joined with those that share an identity with it."""
        same = {} if new.disputed else {self._by_key[key]: None for key in new.keys if key in self._by_key}
        if len(same) > 1:
            same = {each: None for each in self._members if each in same}
        first, *others = [*same, new]
        found = [] if new.disputed else [key for each in (*others, new) for key in _full(each)]
        self._members[first] = None
        for other in others:
            first.absorb(other)
            self._members.pop(other, None)
        self._by_key |= dict.fromkeys(found, first)


@exactly
def invoices_of(units: Iterable[Unit]) -> list[EInvoice]:
    """Return the invoices that are found in these places of one file, in their order."""
    groups = _Groups()
    for unit in units:
        for group in _groups_in(unit):
            groups.add(group)
    return [_invoice(group) for group in _with_codes(groups)]


def _groups_in(unit: Unit) -> list[_Group]:
    """Return the invoices of one place."""
    found = _Groups()
    loose: list[Evidence] = []
    for evidence in unit.evidence:
        if keys(evidence):
            found.add(_Group([evidence], [unit.file_name]))
        else:
            loose.append(evidence)
    groups = _with_codes(found)
    if _contradict(groups):
        groups = [_disputed(groups)]
    for evidence in loose:
        _place(evidence, groups, unit)
    return groups


def _full(group: _Group) -> list[str]:
    return [key for key in group.keys if not key.startswith("?")]


def _with_codes(groups: Iterable[_Group]) -> list[_Group]:
    """Join each group without code to the one group with the same number and an equal total."""
    kept: list[_Group] = []
    without: list[_Group] = []
    by_number: dict[str, list[_Group]] = {}
    for group in groups:
        is_full = bool(_full(group))
        if is_full and not group.disputed:
            for number in _numbers(group):
                by_number.setdefault(number, []).append(group)
        kept.append(group)
        without += [] if is_full or group.disputed or not _numbers(group) else [group]
    joined: set[_Group] = set()
    for group in without:
        alike = dict.fromkeys(each for number in _numbers(group) for each in by_number.get(number, ()))
        equal = [each for each in alike if _totals(each) & _totals(group)]
        if len(equal) == 1:
            equal[0].absorb(group)
            joined.add(group)
    return [group for group in kept if group not in joined]


def _numbers(group: _Group) -> set[str]:
    return {each.number for each in group.evidence if each.number and len(each.number) == 8}


def _totals(group: _Group) -> set[Decimal]:
    return {each.total for each in group.evidence if each.total is not None}


def _contradict(groups: list[_Group]) -> bool:
    """Return whether several sources name one invoice each, and not the same."""
    named = [source for group in groups for source in {each.source for each in group.evidence}]
    return len(groups) > 1 and len(named) == len(set(named))


def _disputed(groups: list[_Group]) -> _Group:
    evidence = sorted((each for group in groups for each in group.evidence), key=lambda each: each.source.rank)
    named = [key for each in evidence for key in keys(each)[:1]]
    return _Group(evidence, groups[0].names, list(dict.fromkeys(named)))


def _place(evidence: Evidence, groups: list[_Group], unit: Unit) -> None:
    """Add evidence without an identity to the invoice that it can only be about; without one, it is dropped."""
    if evidence.number is None:
        if len(groups) == 1:
            groups[0].evidence.append(evidence)
        return
    same = [group for group in groups if any(each.number == evidence.number for each in group.evidence)]
    has_others = any(each.source is evidence.source for group in groups for each in group.evidence)
    if len(same) == 1:
        same[0].evidence.append(evidence)
    elif not groups or (has_others and not same):
        groups.append(_Group([evidence], [unit.file_name]))
    elif len(groups) == 1:
        groups[0].disputed = groups[0].disputed or [*groups[0].keys[:1], evidence.number]
        groups[0].evidence.append(evidence)


def _invoice(group: _Group) -> EInvoice:
    evidence = sorted(group.evidence, key=lambda each: each.source.rank)
    disputed = group.disputed or _too_many(_full(group))
    found = {name: _stated(evidence, name) for name in _FIELDS}
    conflicts: dict[str, list[Any]] = {"identity": list(disputed)} if disputed else {}
    conflicts |= {name: list(values) for name, values in found.items() if len(values) > 1}
    values = {name: next(iter(stated)) for name, stated in found.items() if len(stated) == 1}
    sources = {
        name: [source for each in stated.values() for source in each] for name, stated in found.items() if stated
    }
    if not found["kind"] and not any(len(key) == _DIGITAL for key in group.keys):
        values["kind"] = kind_of_code(values.get("code"))
    _check_sum(values, sources, conflicts)
    identities = [] if disputed else sorted(group.keys, key=lambda key: len(key) != _DIGITAL)
    _confirm_by_name(group, identities, sources)
    return EInvoice(
        identity=identities[0] if identities else None,
        aliases=[key for key in identities[1:] if not key.startswith("?")],
        sources=sources,
        conflicts=conflicts,
        **values,
    )


def _too_many(identities: list[str]) -> list[str]:
    """Return the identities if two of them are of one form, of which an invoice has only one; else nothing."""
    digital = sum(len(each) == _DIGITAL for each in identities)
    return identities if digital > 1 or len(identities) - digital > 1 else []


def _stated(evidence: list[Evidence], name: str) -> dict[Any, list[str]]:
    """Return the differing values of a field, each with the sources that state it, the most trusted first.

    The parties in a text are guesses from its layout: they count only where no other source names the party.
    """
    stated = [(each.source, value) for each in evidence if (value := getattr(each, name)) is not None]
    if name == "kind":
        return _kinds(stated)
    if name in _PARTIES:
        stated = [pair for pair in stated if pair[0] is not Source.PDF_TEXT] or stated
    if name == "number" and any(each.digital_number for each in evidence):
        # A digital invoice on paper has a number of 8 digits, besides the 20 of its identity.
        stated = [pair for pair in stated if len(pair[1]) == 8] or stated
    values: dict[Any, list[str]] = {}
    for source, value in stated:
        sources = values.setdefault(value, [])
        if source.value not in sources:
            sources.append(source.value)
    return values


def _kinds(stated: list[tuple[Source, InvoiceKind]]) -> dict[Any, list[str]]:
    """Return the kind of the most trusted source; two kinds only if one is special (专用) and the other normal."""
    known = [(source, kind) for source, kind in stated if kind is not InvoiceKind.UNKNOWN]
    kinds = dict.fromkeys(kind for _, kind in known)
    special = next((kind for kind in kinds if kind in _SPECIAL), None)
    normal = next((kind for kind in kinds if kind in _NORMAL), None)
    chosen = (special, normal) if special and normal else tuple(kinds)[:1]
    return {kind: list(dict.fromkeys(source.value for source, each in known if each is kind)) for kind in chosen}


def _check_sum(values: dict[str, Any], sources: dict[str, list[str]], conflicts: dict[str, list[Any]]) -> None:
    """Compare the total with the sum of amount and tax, or compute it if no source states it.

    If they differ, one of the three is wrong. Those that only one source states become conflicts with what the other
    two say; all three do if each has several sources. An air ticket has fees besides amount and tax.
    """
    net, tax, total = (values.get(name) for name in _AMOUNTS)
    if net is None or tax is None or values.get("kind") is InvoiceKind.DIGITAL_FLIGHT_ITINERARY:
        return
    if total is None:
        if "total" not in conflicts:
            values["total"] = EXACT.add(net, tax)
            sources["total"] = [COMPUTED]
        return
    if EXACT.add(net, tax) == total:
        return
    implied: dict[str, Decimal] = dict(zip(_AMOUNTS, (total - tax, total - net, net + tax), strict=True))
    for name in [name for name in _AMOUNTS if len(sources[name]) == 1] or _AMOUNTS:
        conflicts[name] = [values.pop(name), implied[name]]


def _confirm_by_name(group: _Group, identities: list[str], sources: dict[str, list[str]]) -> None:
    """Name the file's name among the sources of the number if it contains the 20 digits; it decides nothing."""
    digital = next((key for key in identities if len(key) == _DIGITAL), None)
    if digital and any(digital in name for name in group.names):
        sources.setdefault("number", []).append(FILE_NAME)
