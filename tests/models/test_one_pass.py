"""A reply that is decoded in one pass has the same values as one whose objects are decoded member by member.

JSON objects are lists of members here, so that a name may occur more than once; the last one counts. So a member of an
impossible type in front of the real one changes no value, but its object can no longer be decoded in one pass.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ekb_async.errors import ResponseError
from ekb_async.models.wire.model import Model
from ekb_async.protocol import decoding as d
from tests.support.samples import ENTITY_FIELDS, LINE_ENTITY

pytestmark = pytest.mark.slow

IMPOSSIBLE: Any = [[{}]]
"""A value of a type that no member has."""
TEXT_NAMES = ("id", "code", "E_system_火车票_号码", "invno")
"""Texts that are decoded at once, one of every kind of object."""


class Members(list[tuple[str, Any]]):
    """The members of a JSON object, in their order."""


DIGITS = st.from_regex(r"[+-]?[0-9٣３]{0,22}\.?[0-9]{0,22}", fullmatch=True)
AMOUNTS = (
    DIGITS
    | st.decimals(allow_nan=False, allow_infinity=False, places=2).map(str)
    | st.sampled_from(
        ["", ".", "1.", ".5", "1.2.3", "1e5", " 1", "1_0", "-0.00", "NaN", "Infinity", "٣.5", "1,234.50元"]
    )
)
DATES = st.integers(10**12 - 2, 10**13 + 2) | st.sampled_from([0, 20220110, "2021年06月11日", "2021-06-11", ""])
TEXTS = st.text(max_size=8) | st.sampled_from(["", "6%", "免税", "北京当代商城", "PAPER_NORMAL", "10100", "10102"])
OTHERS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(0, 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.lists(st.integers(0, 2000), max_size=4)
)


def objects(values: Mapping[str, Any]) -> st.SearchStrategy[Members]:
    """Objects with some of these members in any order, some of them twice, and with members that no model has."""
    known = st.sampled_from(sorted(values)).flatmap(lambda name: st.tuples(st.just(name), values[name]))
    unknown = st.tuples(st.text(max_size=4), OTHERS | TEXTS | MONEY)
    return st.lists(known | known | known | unknown, max_size=len(values) + 4).map(Members)


MONEY = st.builds(
    lambda standard, code, number: Members(
        [("standard", standard), ("standardScale", "2"), ("standardNumCode", number), ("standardStrCode", code)]
    ),
    AMOUNTS | st.none() | st.integers(),
    st.sampled_from(["CNY", "USD", "", None]),
    st.sampled_from(["156", 156, None]),
)
OF_TYPE = {
    "text": TEXTS | st.none(),
    "money": MONEY | AMOUNTS | st.none() | st.integers(),
    "date": DATES | st.none(),
    "flag": st.booleans() | st.sampled_from([0, 1, "是", None]),
    "number": AMOUNTS | st.integers() | st.none(),
    "box": st.lists(st.integers(0, 2000) | st.floats(0, 2000), max_size=4),
}


def fields_of(entity: str) -> dict[str, st.SearchStrategy[Any]]:
    """Return the wire fields of an entity, nearly always with values of the documented type."""
    return {name: st.one_of(*[OF_TYPE[kind]] * 15, OTHERS) for name, kind in ENTITY_FIELDS[entity].items()}


TIMES = {"createTime": DATES, "updateTime": DATES, "useCount": st.integers() | st.none(), "active": st.booleans()}
LINE = fields_of(LINE_ENTITY) | TIMES | {"id": TEXTS, "masterId": TEXTS, "entityId": TEXTS}
LINES = objects(LINE) | objects(LINE | {"form": objects(LINE)})
MASTERS = st.sampled_from([entity for entity in ENTITY_FIELDS if entity != LINE_ENTITY]).flatmap(
    lambda entity: objects(TIMES | {"id": TEXTS, "name": TEXTS, "code": TEXTS}).flatmap(
        lambda master: objects(fields_of(entity)).map(
            lambda form: Members([*master, ("form", form), ("entityId", entity)])
        )
    )
)
VERIFIED = objects(
    {
        "master": MASTERS,
        "details": st.lists(LINES, max_size=2) | st.none(),
        "message": TEXTS | st.none(),
        "status": TEXTS,
        "ischeck": st.booleans() | st.none(),
    }
)
RECOGNISED = {"code": TEXTS, "number": TEXTS, "date": DATES, "total": AMOUNTS, "tax": AMOUNTS, "seller": TEXTS}
FLAGS = dict.fromkeys(("electronic_mark", "block_chain", "company_seal"), OF_TYPE["flag"])
OCR = objects(
    {
        "type": TEXTS,
        "orientation": st.integers(0, 360) | st.floats(0, 360),
        "region": OF_TYPE["box"],
        "details": objects(RECOGNISED | FLAGS | {"buyer": TEXTS, "title": TEXTS}) | st.none(),
    }
)
URLS = objects({"id": TEXTS, "url": TEXTS, "thumbUrl": TEXTS, "source": TEXTS, "region": OF_TYPE["box"]})
CHECKED = objects(
    {"invno": TEXTS, "invcode": TEXTS, "invdate": DATES, "invamt": AMOUNTS, "invsumamt": AMOUNTS, "payee": TEXTS}
)
GAPS = st.sampled_from(["", "", " ", "\n", " \t\r\n "])


def entries(listed: st.SearchStrategy[Members]) -> st.SearchStrategy[Members]:
    return st.lists(listed, max_size=3).map(lambda found: Members([("items", found)]))


def written(value: Any, gap: str = "") -> str:
    """Return the JSON of a value, with `gap` around every sign."""
    signs = {sign: f"{gap}{sign}{gap}" for sign in "{}[],:"}
    if isinstance(value, Members):
        members = signs[","].join(
            f"{json.dumps(name, ensure_ascii=False)}{signs[':']}{written(each, gap)}" for name, each in value
        )
        return f"{signs['{']}{members}{signs['}']}"
    if isinstance(value, list):
        return signs["["] + signs[","].join(written(each, gap) for each in value) + signs["]"]
    return json.dumps(value, ensure_ascii=False)


def spoilt(value: Any) -> Any:
    """Return JSON with the same values, no object of which can be decoded in one pass."""
    if isinstance(value, Members):
        real = [(name, spoilt(each)) for name, each in value]
        nulls = [(name, None) for name in TEXT_NAMES]
        names = dict.fromkeys(name for name, _ in (*nulls, *real))
        return Members([*((name, IMPOSSIBLE) for name in names), *nulls, *real])
    return [spoilt(each) for each in value] if isinstance(value, list) else value


def shown(decode: Callable[[bytes], Any], body: str) -> object:
    """Return all that a result shows except its bytes, or the error if there is no result."""
    try:
        found = decode(body.encode(errors="surrogatepass"))
    except ResponseError as error:
        return repr(error)
    models: list[Model] = found if isinstance(found, list) else [found]
    return [(type(model), repr(model), repr(model.to_dict()), _parts(model)) for model in models]


def _parts(model: Model) -> object:
    """Return the classes of a model's parts, which its values do not show."""
    return [(type(each), type(getattr(each, "form", None))) for each in getattr(model, "invoices", ())]


def check(decode: Callable[[bytes], Any], body: Members, gap: str) -> None:
    in_one_pass = shown(decode, written(body))
    assert in_one_pass == shown(decode, written(body, gap))
    _, wrapped = body[0]
    inside = Members([(body[0][0], spoilt(wrapped))])
    assert in_one_pass == shown(decode, written(inside))


@given(entries(VERIFIED), GAPS)
def test_verified(body: Members, gap: str) -> None:
    """Verified invoices of every kind, with their lines."""
    check(d.decode_verify, body, gap)


@given(st.lists(OCR, min_size=1, max_size=3), GAPS)
def test_recognised(invoices: list[Members], gap: str) -> None:
    """Recognised invoices."""
    check(d.decode_ocr, Members([("value", Members([("platform", "ruiqi"), ("invoices", invoices)]))]), gap)


@given(entries(LINES), GAPS)
def test_details(body: Members, gap: str) -> None:
    """Lines of either shape."""
    check(d.decode_details, body, gap)


@given(entries(URLS), GAPS)
def test_urls(body: Members, gap: str) -> None:
    """File URLs."""
    check(d.decode_invoice_urls, body, gap)


@given(CHECKED, GAPS)
def test_checked(value: Members, gap: str) -> None:
    """Invoices checked with the tax authority."""
    check(d.decode_checked, Members([("value", Members([*value, ("invno", "1")]))]), gap)
