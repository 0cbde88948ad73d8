"""The attributes of the models have the vendor's Chinese terms in their docstrings."""

from __future__ import annotations

import ast
import inspect
import textwrap
from typing import Any

import pytest

from ekb_async import models
from ekb_async.models.wire.fields import WireField
from ekb_async.models.wire.model import Model

RECORD = {"createTime", "updateTime", "ownerId", "useCount", "totalCount"}
UNDOCUMENTED: dict[type[Model], set[str]] = {
    models.InvoiceDetail: {*RECORD, "entityId"},
    models.OcrDetails: {"title"},
    models.OcrResult: {"isExpressImage"},
    models.VerifiedInvoice: {*RECORD, "name", "code", "corporationId", "operatorId", "source"},
    models.InvoiceUrl: {"fileName"},
}
"""Wire names of a model for which the vendor documents no term."""
MODELS = [
    *models.InvoiceForm.__subclasses__(),
    models.InvoiceForm,
    models.InvoiceDetail,
    models.OcrDetails,
    models.OcrInvoice,
    models.OcrResult,
    models.VerifiedInvoice,
    models.InvoiceUrl,
]


def attribute_docs(model: type) -> dict[str, str]:
    """The docstring below each attribute that the body of a class assigns, "" if there is none."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    assert isinstance(definition, ast.ClassDef)
    docs = {}
    for statement, below in zip(definition.body, [*definition.body[1:], None], strict=True):
        match statement, below:
            case ast.Assign(targets=[ast.Name(id=name)]), ast.Expr(value=ast.Constant(value=str(doc))):
                docs[name] = doc
            case ast.Assign(targets=[ast.Name(id=name)]), _:
                docs[name] = ""
    return docs


def has_term(model: type[Model], field: WireField[Any]) -> bool:
    """Whether the vendor documents a Chinese term of a field; wire names that begin with `E_` end with theirs."""
    if field.wire.startswith("E_"):
        return not field.wire.rpartition("_")[2].isascii()
    return field.wire not in UNDOCUMENTED.get(model, ())


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_each_attribute_has_the_term_in_its_docstring(model: type[Model]) -> None:
    """The docstring of an attribute begins with the Chinese term of its wire field, if the vendor documents one."""
    docs = attribute_docs(model)
    fields = {name: field for name, field in vars(model).items() if isinstance(field, WireField)}
    assert fields.keys() <= docs.keys()
    without = [name for name in fields if not docs[name] or docs[name].split()[0].isascii()]
    assert [name for name in without if has_term(model, fields[name])] == []
