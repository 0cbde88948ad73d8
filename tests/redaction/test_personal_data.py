"""What is stored of an exchange has no personal data and no secret in it, and the same shape as before."""

from __future__ import annotations

import base64
import datetime
import importlib
import json
import pkgutil
import re
import string
import time
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ekb_async import EkbError, InvoiceId, models
from ekb_async.models import InvoiceKind
from ekb_async.models.kinds import VatCategory
from ekb_async.models.wire.fields import WireField
from ekb_async.protocol import endpoints
from ekb_async.protocol.endpoints import Endpoint, Request
from ekb_async.protocol.replies import Reply, read_reply
from ekb_async.redaction.personal.pseudonyms import Pseudonyms
from ekb_async.redaction.personal.recorded import SecretInTextError, bytes_of, check_free_of, masked_body
from ekb_async.redaction.personal.secrets_on_wire import secrets_in
from ekb_async.redaction.personal.texts import PLACEHOLDER, Known, Masks
from tests.support.error_shapes import ERRORS, SHAPES
from tests.support.personal import PERSONAL, PIECES, VALUES, check_nothing_is_left
from tests.support.samples import ENTITY_FIELDS, sample

UTC8 = datetime.timezone(datetime.timedelta(hours=8))


def masked(body: bytes | str, *, charset: str | None = None, masks: Masks | None = None) -> str:
    content = body if isinstance(body, bytes) else body.encode()
    return masked_body(content, charset, masks or Masks(), Known(), ()).text


def shape(value: object) -> object:
    """Return the types in JSON, and for texts and numbers their characters' kinds."""
    if isinstance(value, dict):
        return [shape(each) for each in value.values()]
    if isinstance(value, list):
        return [shape(each) for each in value]
    return type(value)


@settings(max_examples=150, deadline=None)
@given(VALUES, st.booleans())
def test_no_value_survives_in_json_of_any_form(value: object, escaped: bool) -> None:
    """JSON of any shape keeps its types and no personal value, whatever its fields are called."""
    text = masked(json.dumps(value, ensure_ascii=escaped))
    check_nothing_is_left(text)
    if isinstance(value, dict | list):
        assert shape(json.loads(text)) == shape(value)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(PIECES, max_size=8).map("".join),
    st.sampled_from(("<html><title>{0}</title><p id='{0}'>{0}</p>", "{0}", "at {0}({0}:12)")),
)
def test_no_value_survives_in_a_text_or_a_page(text: str, form: str) -> None:
    """Pages and bare texts keep the vendor's words only, also if nothing separates a value from them."""
    check_nothing_is_left(masked(form.format(text)))


@settings(max_examples=100, deadline=None)
@given(
    VALUES,
    st.sampled_from(("utf-8", "gb18030", "utf-16", "utf-16-le", "utf-32", "utf-8-sig", "big5")),
    st.integers(0, 40),
)
def test_no_value_survives_in_another_encoding(value: object, encoding: str, lost: int) -> None:
    """The encoding of a body does not matter, nor whether it is declared, nor whether the body was cut off."""
    body = json.dumps({"errorMessage": value, "x": PERSONAL}, ensure_ascii=False).encode(encoding, "replace")
    body = body[: len(body) - lost]
    for charset in (None, encoding):
        found = masked_body(body, charset, Masks(), Known(), ())
        check_nothing_is_left(found.text)
        raw = bytes_of(found)
        for other in ("utf-8", "gb18030", "utf-16-le", "utf-16-be", "big5", "latin-1"):
            check_nothing_is_left(raw.decode(other, "replace"))


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_masked(body: bytes) -> None:
    """A body of any bytes can be masked and sent again."""
    found = masked_body(body, None, Masks(), Known(), ())
    assert isinstance(bytes_of(found), bytes)
    found.text.encode()


@pytest.mark.parametrize("value", PERSONAL)
def test_a_value_has_the_same_substitute_everywhere(value: str) -> None:
    """A value is replaced alike in a field, in a list, in JSON within JSON and under any name."""
    masks = Masks()
    within = json.dumps({"seller": value}, ensure_ascii=False)
    found = json.loads(masked(json.dumps({"a": value, "fileIds": [value], "rawdata": within}), masks=masks))
    _, ids, rawdata = found.values()
    assert ids == [masks.hidden(value)] == [json.loads(rawdata)["seller"]]
    assert len(ids[0]) == len(value)


def test_a_known_text_is_replaced_as_a_whole_in_an_error() -> None:
    """What a request contained has the same substitute where the error quotes it, even if it is made of known words."""
    masks, known = Masks(), Known()
    request = masked_body('{"staffId":"a1:系统错误"}'.encode(), None, masks, known, (), collects=True)
    text = masked_body('{"errorMessage":"人员a1:系统错误不存在"}'.encode(), None, masks, known, ()).text
    assert json.loads(text)["errorMessage"] == f"人员{json.loads(request.text)['staffId']}不存在"


def test_parts_of_an_id_are_replaced_alike() -> None:
    """A compound ID keeps its structure, and its parts have the substitutes that they have on their own."""
    masks = Masks()
    found = InvoiceId.parse(masks.hidden("rGN3lum4o00hM:031001900204:91068626:2"))
    parts = [masks.hidden(each) for each in ("rGN3lum4o00hM", "031001900204", "91068626")]
    assert [found.corporation, found.code, found.number] == parts
    assert found.suffix == masks.hidden("2")
    assert masks.hidden("Tdk3tgber501v0::23312000000123878916").count("::") == 1


@settings(max_examples=100, deadline=None)
@given(
    st.text(string.ascii_letters + string.digits, min_size=1, max_size=40),
    st.text("张王李赵云山水", min_size=1, max_size=6),
)
def test_a_word_keeps_its_shape(word: str, name: str) -> None:
    """Digits stay digits, letters keep their case, Chinese stays Chinese."""
    found = Pseudonyms().text(f"{word}/{name}")
    assert len(found) == len(word) + 1 + len(name)
    for before, after in zip(word, found, strict=False):
        assert before.isdecimal() == after.isdecimal()
        assert before.isupper() == after.isupper()
    assert all("一" <= each <= "龥" for each in found[len(word) + 1 :])


def test_different_words_stay_different() -> None:
    """No two words of one shape have the same substitute."""
    pseudonyms = Pseudonyms()
    for words in (
        [str(number) for number in range(1200)],
        [f"{number:03d}" for number in range(1000)],
        list(string.ascii_lowercase),
    ):
        assert len({pseudonyms.word(word) for word in words}) == len(words)
    dates = [f"2022{month:02d}{day:02d}" for month in range(13) for day in range(100)]
    assert len({pseudonyms.word(each) for each in dates}) == len(dates)


def test_each_bundle_has_substitutes_of_its_own() -> None:
    """The substitutes of one bundle say nothing about those of another."""
    assert len({Masks().hidden("13800138000") for _ in range(5)}) == 5


def test_amounts_and_dates_keep_their_form() -> None:
    """An amount keeps its decimals, nothing stays nothing, and a date becomes one, the same in each spelling."""
    masks = Masks()
    amount = {"standard": "1234.50", "standardScale": 2, "standardUnit": "元", "standardStrCode": "CNY"}
    found = json.loads(masked(json.dumps({"a": amount, "tax": "0.00", "taxRate": "6%", "total": 98.76}), masks=masks))
    changed, tax, rate, total = found.values()
    assert re.fullmatch(r"\d{4}\.\d\d", changed.pop("standard"))
    assert changed == {"standardScale": 2, "standardUnit": "元", "standardStrCode": "CNY"}
    assert (tax, rate) == ("0.00", "6%")
    assert re.fullmatch(r"\d\d\.\d\d?", str(total))
    day = masks.hidden("20220110")
    assert masks.hidden("2022-01-10 12:30:00") == f"{day[:4]}-{day[4:6]}-{day[6:]} 12:30:00"
    assert masks.hidden("2022年01月10日") == f"{day[:4]}年{day[4:6]}月{day[6:]}日"
    midnight = int(masks.number("E_system_发票主体_发票日期", "1641744000000")) / 1000
    assert datetime.datetime.fromtimestamp(midnight, UTC8).strftime("%Y%m%d%H%M%S") == f"{day}000000"


def _wire_names() -> set[str]:
    """Return the names of all fields that the models, the samples and the bodies of requests have on the wire."""
    names = {name for fields in ENTITY_FIELDS.values() for name in fields}
    for name in ("verify-vat", "verify-train", "invoice-detail", "invoice-url", "ocr", "expense-invoice-form"):
        names |= set(re.findall(r'"([A-Za-z_]+)"\s*:', sample(name).decode()))
    for module in pkgutil.walk_packages(models.__path__, f"{models.__name__}."):
        for found in vars(importlib.import_module(module.name)).values():
            fields = [getattr(found, each, None) for each in dir(found)] if isinstance(found, type) else []
            names |= {part for field in fields if isinstance(field, WireField) for part in field.wire.split(".")}
    return names


def test_the_vendors_own_names_are_kept() -> None:
    """The fields of documented replies, the paths of all calls, kinds and categories are no personal data."""
    masks = Masks()
    names = _wire_names()
    assert {"usedPeople", "E_system_火车票_车次"} <= names
    assert {name for name in names if masks.name(name) != name} == set()
    paths = [each.path for each in vars(endpoints).values() if isinstance(each, Endpoint)]
    assert paths
    assert [path for path in paths if masks.path(path.format("invoice")) != path.format("invoice")] == []
    licence = '{"items":[{"powerCode":"110407","power":{"name":"OCR智能票据识别","code":"110407"},"state":"using"}]}'
    assert masked(licence) == licence
    for field, values in {
        "E_system_发票主体_发票类别": [each.value for each in VatCategory],
        "type": ["10100", "10505a", "expense", "code"],
        "entityId": ["system_发票主体", "system_火车票"],
        "status": ["UNLOCK", "LOCK", "NO_RESULT", "using"],
        "税率": ["6%", "免税"],
    }.items():
        assert [masks.value(field, each, Known()) for each in values] == values
    assert InvoiceKind.of_entity("system_火车票") is InvoiceKind.TRAIN_TICKET


@pytest.mark.parametrize("form", SHAPES)
def test_a_documented_error_is_recognised_when_masked(form: str) -> None:
    """A masked error raises the same error with the same text, in each of the vendor's shapes."""
    every = [each for each in vars(endpoints).values() if isinstance(each, Endpoint)]
    for status, text, _ in ERRORS:
        made = SHAPES[form](status, text)
        body = (made if isinstance(made, str) else json.dumps(made, ensure_ascii=False)).encode()
        for endpoint in every:
            for answered in (status, 200):
                before, after = (_raised(endpoint, answered, each) for each in (body, masked(body).encode()))
                assert type(after) is type(before)
                assert str(after) == str(before)


def _raised(endpoint: Endpoint[Any], status: int, body: bytes) -> EkbError | None:
    try:
        read_reply(Request(endpoint, endpoint.path), Reply(status, {}, body))
    except EkbError as error:
        return error
    return None


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (
            "id为：[djg8LshfUkfM00]的企业没有发票查验接口权限，请联系管理员开通",
            "id为：[{}]的企业没有发票查验接口权限，请联系管理员开通",
        ),
        ("该发票在单据[B22001240]中已经关联", "该发票在单据[{}]中已经关联"),
        ("员工张无忌不存在", "员工{}不存在"),
        ("502 Bad Gateway", "502 Bad Gateway"),
        ("上传附件大小不可超过30Mb", "上传附件大小不可超过30Mb"),
        ("java.io.IOException at com.mingjiao.App", "java.io.IOException at com.{}.App"),
    ],
)
def test_an_error_text_keeps_the_vendors_words(text: str, kept: str) -> None:
    """Only what is not the vendor's is replaced in a sentence."""
    found = Masks().sentence(text, Known())
    assert re.fullmatch(re.escape(kept).replace(r"\{\}", "(.+)"), found), found
    check_nothing_is_left(found)


@pytest.mark.parametrize("host", ["files.mingjiao.example", "app.ekuaibao.com:8443", "platform.example"])
def test_a_url_keeps_its_times_only(host: str) -> None:
    """A URL keeps what shows how long it is valid, without its host, its file's name and its signature."""
    url = f"https://me:pass@{host}/f/张无忌.pdf?Expires=1700000000&OSSAccessKeyId=LTAI4&Signature=s1gn%2Fature=#x"
    found = Masks("platform.example").url(url)
    assert found.startswith(f"{PLACEHOLDER}/")
    assert found.endswith(".pdf?Expires=1700000000&OSSAccessKeyId=***&Signature=***")
    check_nothing_is_left(found)


def test_the_vendors_public_platforms_are_named() -> None:
    """The address of a platform is kept, unless it is the one that was called: a replay has another address."""
    masks = Masks("app.ekuaibao.com:443")
    assert masks.url("https://dd2.hosecloud.com/") == "https://dd2.hosecloud.com/"
    for called in ("https://app.ekuaibao.com/", "https://app.ekuaibao.com:443/", "https://APP.ekuaibao.com/"):
        assert masks.url(called) == f"{PLACEHOLDER}/"


SECRET = "a1B2/c3:D4+e5 F6"


@pytest.mark.parametrize(
    "spelled",
    [
        SECRET,
        quote(SECRET, safe=""),
        quote(quote(SECRET, safe=""), safe=""),
        json.dumps(json.dumps(SECRET).replace("/", "\\/")),
        "".join(f"\\u{ord(each):04x}" for each in SECRET),
        "".join(f"&#{ord(each)};" for each in SECRET),
        SECRET.replace(" ", "+").replace("+", "%2B"),
        f"{SECRET[:5]}\n{SECRET[5:]}",
        SECRET.encode().hex(),
        base64.b64encode(f"key:{SECRET}".encode()).decode(),
        base64.b64encode(f"a key:{SECRET}".encode()).decode(),
        base64.urlsafe_b64encode(f"the key:{SECRET} and more".encode()).decode(),
    ],
)
def test_a_secret_in_any_spelling_is_refused(spelled: str) -> None:
    """A text with a secret in it is not written, however the secret is spelled."""
    with pytest.raises(SecretInTextError):
        check_free_of(f'{{"x": "{spelled}"}}', [SECRET, "another-secret"])
    check_free_of(f'{{"x": "{spelled}"}}', ["another-secret", "abc"])


def test_secrets_are_found_where_they_are_sent() -> None:
    """Tokens and keys are found by their fields, signatures by their parameters."""
    body = msgspec.json.encode(
        {
            "appKey": "the-app-key-1",
            "value": {"accessToken": "ID01:djg8abc", "expireTime": 1},
            "url": "https://f.example/a.pdf?Expires=1700000000&Signature=abC%2Bdef123&name=report-2026",
            "state": "using",
        }
    )
    assert set(secrets_in(body)) == {"the-app-key-1", "ID01:djg8abc", "abC%2Bdef123", "abC+def123"}


def test_the_search_for_secrets_takes_linear_time() -> None:
    """Neither a long signature nor many of them take more time than their characters are worth."""
    began = time.process_time()
    assert list(secrets_in(b'{"msg":"https://x.example/?sign=' + b"-" * 26 + b'A"}')) == ["-" * 26 + "A"] * 2
    links = [f"https://f.example/{number}?Signature=s1gn{number:04d}" for number in range(1500)]
    check_free_of(" ".join(links), [f"0ther-s1gn{number:04d}-{number}" for number in range(1500)])
    with pytest.raises(SecretInTextError):
        check_free_of(" ".join(links), ["s1gn0815", *(f"0ther{number}" for number in range(1500))])
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    "text",
    [
        '{"message": "用户 &#122;&#104;&#97;&#110;&#103; 不存在"}',
        '{"message": "user %7A%68%61%6E%67 not found"}',
        "user =7A=68=61=6E=67 not found",
        '{"reason": "zhang 报销", "description": "zhang", "content": "zhang"}',
        '{"type": "ZHANG", "source": "ZHANG", "E_ab12_来源": "ZHANG", "state": "ZHANG"}',
        '{"items": [{"code": "ZHANG", "name": "x", "msg": "ok"}]}',
        '{"pwd": "{zhang-2}", "password": {"value": "zhang"}, "token": ["zhang"]}',
        '{"message": "password is zhang-12, zhang:zhang-12@host"}',
        "mail Zhang.San@example.com and http://zhang-group.ekuaibao.com/x",
    ],
)
def test_a_name_is_masked_wherever_it_hides(text: str) -> None:
    """Escapes, users' own fields, enums, codes, secrets and hosts hide no name."""
    found = masked(text).lower()
    assert "zhang" not in found
    for escape in ("&#122;", "%7a%68", "=7a=68"):
        assert escape not in found


@pytest.mark.parametrize("number", ["493 021", "00:1a:2b:3c:4d:5e", "110 101 1985 0312 001", "123ab-456cd-789ef"])
def test_a_number_in_parts_is_masked(number: str) -> None:
    """Short numbers are kept only where they stand alone."""
    assert number not in masked(f"code {number} sent")


@pytest.mark.parametrize(
    ("text", "hidden"),
    [('{"message": "验证码 493 021"}', "021"), ("code: token 12 34 5678", "5678"), ('{"type": "lang"}', "lang")],
)
def test_no_part_of_a_code_and_no_name_in_an_enum_is_kept(text: str, hidden: str) -> None:
    """A code in parts is masked to its end, and a word that is also a name is masked in fields of any kind."""
    assert hidden not in masked(text)
