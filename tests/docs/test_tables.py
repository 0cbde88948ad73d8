"""The tables of kinds, settings and loggers: they say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from ekb_async import SessionConfig
from ekb_async.models import InvoiceKind
from ekb_async.models.forms import FORMS
from tests.support.pages import CHINESE, ENGLISH, ROOT

BOTH = pytest.mark.parametrize("pages", [CHINESE, ENGLISH], ids=["zh", "en"])
_CODE = re.compile(r"^\| `(\d+a?)`(?:[^`|]*`(\w+)`[^|]*)? \| `(\w+)` \| ([^|]+) \|$", re.MULTILINE)
_ENTITY = re.compile(r"^\| `(system_\w+)` \| `(\w+)` \| `(\w+)` \| ([^|]+) \|$", re.MULTILINE)
_SETTING = re.compile(r"^\| `(\w+)` \| `?([\w.,]+)`? \|", re.MULTILINE)


@BOTH
def test_the_codes_of_recognition(pages: Path) -> None:
    """Each code has its kind and the kind's Chinese name; two of them depend on a flag."""
    rows = _CODE.findall((pages / "calls" / "ocr.md").read_text(encoding="utf-8"))
    assert len(rows) == 28
    for code, flag, kind, label in rows:
        found = InvoiceKind.of_ocr(code, electronic=flag == "electronic_mark", blockchain=flag == "block_chain")
        assert (found.name, found.label) == (kind, label), code


@BOTH
def test_the_forms_of_verification(pages: Path) -> None:
    """Each entity has its class of form, and its kind."""
    rows = _ENTITY.findall((pages / "calls" / "verify.md").read_text(encoding="utf-8"))
    assert {entity: form for entity, form, _, _ in rows} == {entity: form.__name__ for entity, form in FORMS.items()}
    for entity, _, kind, label in rows:
        found = InvoiceKind.of_entity(entity)
        assert (found.name, found.label) == (kind, label), entity


@BOTH
def test_the_settings(pages: Path) -> None:
    """Each setting is listed with its default."""
    rows = dict(_SETTING.findall((pages / "sessions.md").read_text(encoding="utf-8")))
    for field in msgspec.structs.fields(SessionConfig):
        shown = f"{field.default:,}" if type(field.default) is int else str(field.default)
        assert rows[field.name] == shown, field.name


@BOTH
def test_the_loggers(pages: Path) -> None:
    """Each logger of the package is listed, and no other."""
    listed = set(re.findall(r"`(ekb_async[\w.]*)`[、,| ]", _section(pages / "sessions.md", "`ekb_async.queue`")))
    found = {"ekb_async"}
    for file in (ROOT / "ekb_async").rglob("*.py"):
        for name in re.findall(r"getLogger\((?:\"([\w.]+)\"|__name__)\)", file.read_text(encoding="utf-8")):
            found.add(name or ".".join(file.relative_to(ROOT).with_suffix("").parts))
    assert listed == {name for name in found if name.startswith("ekb_async")}


def _section(page: Path, containing: str) -> str:
    """Return the only section of a page with this text."""
    (section,) = [each for each in page.read_text(encoding="utf-8").split("\n## ") if containing in each]
    return section
