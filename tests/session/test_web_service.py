"""Results as answers of a web service: with FastAPI, and with a schema."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from ekb_async import (
    Attachment,
    CheckedInvoice,
    EkbSession,
    FileUrl,
    InvoiceDetail,
    InvoiceForm,
    InvoiceUrl,
    OcrResult,
    VatInvoiceForm,
    VerifyResult,
)
from ekb_async.models.wire.model import Model
from ekb_async.models.wire.returnable import Returnable
from ekb_async.sandbox import SampleInvoice, Sandbox
from tests.support.command import environment

if TYPE_CHECKING:
    from fastapi import FastAPI

PNG = b"\x89PNG\r\n\x1a\n"
URL = "https://files.example/a.png"


class Answer(BaseModel):
    """A service's own model that contains results."""

    result: VerifyResult
    links: dict[str, InvoiceUrl | None]


class Results(NamedTuple):
    """One result of every class."""

    ocr: OcrResult
    verified: VerifyResult
    links: dict[str, InvoiceUrl | None]
    lines: list[InvoiceDetail]
    checked: CheckedInvoice
    upload: Attachment


async def results_of(ekb: EkbSession) -> Results:
    return Results(
        ocr=await ekb.ocr(URL),
        verified=await ekb.verify(URL, staff_id="c:s"),
        links=await ekb.invoice_urls(["c:1:2", "unknown"]),
        lines=await ekb.invoice_details("c:1:2"),
        checked=await ekb.verify_by_id("c:1:2"),
        upload=await ekb.upload(PNG, "a.png"),
    )


def service(given: Results, **settings: Any) -> FastAPI:
    """Return a service whose endpoints return results unchanged."""
    from fastapi import FastAPI  # takes longer to load than most tests

    app = FastAPI(**settings)

    @app.get("/ocr")
    async def ocr() -> OcrResult:
        return given.ocr

    @app.get("/verify")
    async def verify() -> VerifyResult:
        return given.verified

    @app.get("/form")
    async def form() -> InvoiceForm:
        return given.verified.invoices[0].form

    @app.get("/url")
    async def url() -> InvoiceUrl | None:
        return given.links["c:1:2"]

    @app.get("/details")
    async def details() -> list[InvoiceDetail]:
        return given.lines

    @app.get("/checked", response_model_exclude_none=True)
    async def checked() -> CheckedInvoice:
        return given.checked

    @app.get("/upload")
    async def upload() -> Attachment:
        return given.upload

    @app.get("/answer")
    async def answer() -> Answer:
        return Answer(result=given.verified, links=given.links)

    @app.get("/bare")
    async def bare():  # type: ignore[no-untyped-def]  # FastAPI must see no type
        return {"results": [given.verified, given.upload], "links": given.links}

    return app


def client(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service")


async def test_results_are_answers_as_they_are(ekb: EkbSession, quick_box: Sandbox) -> None:
    """An endpoint can return every result, alone, in lists or in models; it is encoded as `to_dict()`."""
    quick_box.vendor.rules.recognises = {
        URL: [
            SampleInvoice(kind="digital_normal", number="25332000000041907731"),
            SampleInvoice(kind="train", number="K083651"),
        ]
    }
    given = await results_of(ekb)
    first = given.verified.invoices[0]
    assert isinstance(first.form, VatInvoiceForm)
    assert first.details
    verified, links = given.verified.to_dict(), {name: link and link.to_dict() for name, link in given.links.items()}
    expected = {
        "ocr": given.ocr.to_dict(),
        "verify": verified,
        "form": first.form.to_dict(),
        "url": links["c:1:2"],
        "details": [line.to_dict() for line in given.lines],
        "checked": {name: value for name, value in given.checked.to_dict().items() if value is not None},
        "upload": {"id": given.upload.id, "key": given.upload.key},
        "answer": {"result": verified, "links": links},
        "bare": {"results": [verified, given.upload.to_dict()], "links": links},
    }
    async with client(service(given)) as http:
        for path, values in expected.items():
            response = await http.get(f"/{path}")
            assert (response.status_code, response.json()) == (200, values), path


@pytest.mark.parametrize("separate", [True, False])
async def test_results_are_in_the_schema(ekb: EkbSession, *, separate: bool) -> None:
    """Each result class is a component of the OpenAPI schema, with its values, their types and the vendor's names."""
    app = service(await results_of(ekb), separate_input_output_schemas=separate)
    async with client(app) as http:
        schema = (await http.get("/openapi.json")).json()
    described = schema["components"]["schemas"]
    assert {"OcrResult", "VerifiedInvoice", "VatInvoiceForm", "TrainTicketForm", "InvoiceUrl"} <= described.keys()
    at = schema["paths"]["/ocr"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert at == {"$ref": "#/components/schemas/OcrResult"}
    details = described["OcrDetails"]
    assert details["description"] == "The texts read from an invoice."
    assert details["required"] == list(details["properties"])
    assert details["properties"]["pretax_amount"] == {
        "anyOf": [{"type": "string", "format": "decimal"}, {"type": "null"}],
        "description": "pretax_amount",
        "title": "Pretax Amount",
    }
    assert details["properties"]["date"]["anyOf"][0] == {"type": "string", "format": "date"}
    assert "taxi_receipt" in described["OcrInvoice"]["properties"]["kind"]["enum"]
    assert len(described["VerifiedInvoice"]["properties"]["form"]["oneOf"]) == len(InvoiceForm.__subclasses__())


def every(kind: type[Returnable]) -> list[type[Returnable]]:
    found = [each for below in kind.__subclasses__() for each in every(below)]
    return found or [kind]


@pytest.mark.parametrize("result", [*every(Model), FileUrl, Attachment])
def test_the_schema_has_all_values(result: type[Returnable]) -> None:
    """The schema of a class has the names of its `to_dict()`; only embedded JSON has no type."""
    adapter: TypeAdapter[Any] = TypeAdapter(result)
    schema = adapter.json_schema(mode="serialization")
    assert list(schema["properties"]) == list(result.value_names())
    of_any_type = {
        name for name, each in schema["properties"].items() if not {"type", "anyOf", "oneOf", "$ref"} & each.keys()
    }
    assert of_any_type <= {"item_data", "raw_data"}


def test_pydantic_checks_the_class() -> None:
    """Validation refuses a value of another class, in Python or JSON; results are not read back from `to_dict()`."""
    adapter = TypeAdapter(OcrResult)
    result = OcrResult.from_raw(b'{"value": {"invoices": []}}')
    assert adapter.validate_python(result) is result
    for wrong in (result.to_dict(), None, VerifyResult.from_raw(b'{"items": []}')):
        with pytest.raises(ValidationError, match="instance of OcrResult"):
            adapter.validate_python(wrong)


def test_a_result_as_a_dict() -> None:
    """`dict(result)` and `**result` equal `to_dict()`; an unknown name is a `KeyError`; a result is not iterable."""
    result = OcrResult.from_raw(
        b'{"value": {"platform": "x", "invoices": [{"type": "10100", "details": {"total": "1.50"}}]}}'
    )
    assert dict(result) == {**result} == result.to_dict()
    assert result["invoices"][0]["details"]["total"] == "1.50"
    for name in ("raw", "nothing", 0):
        with pytest.raises(KeyError):
            result[name]  # type: ignore[index]
    with pytest.raises(TypeError):
        iter(result)  # type: ignore[call-overload]
    link = FileUrl(id="1", key="a.png", url="https://files.example/a.png", raw=b"{}")
    assert (
        dict(link)
        == link.to_dict()
        == {
            "id": "1",
            "key": "a.png",
            "url": "https://files.example/a.png",
            "thumb_url": "",
            "expires_at": None,
        }
    )


@pytest.mark.process
async def test_the_core_needs_no_pydantic() -> None:
    """Neither importing the package nor reading a result loads pydantic."""
    program = (
        'import sys, ekb_async; ekb_async.OcrResult.from_raw(b\'{"value": {"invoices": []}}\').to_dict();'
        "assert not {'pydantic', 'pydantic_core', 'fastapi'} & sys.modules.keys()"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, env=environment(None))
    assert await process.wait() == 0
