"""The reference: every public name stands in it once, in both languages, and the tree of errors is that of the code."""

from __future__ import annotations

import importlib
import re
from collections import Counter
from pathlib import Path

import pytest

from ekb_async import EkbError, errors
from tests.support.pages import CHINESE, ENGLISH, blocks_of

MODULES = (
    *("ekb_async", "ekb_async.backlog", "ekb_async.postgres", "ekb_async.sandbox", "ekb_async.testing"),
    *("ekb_async.simulation", "ekb_async.einvoice"),
    *("ekb_async.ext.otel", "ekb_async.ext.pgqueuer", "ekb_async.ext.procrastinate"),
)
_DIRECTIVE = re.compile(r"^::: ([\w.]+)$", re.MULTILINE)


def _named(path: str) -> object:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def _public() -> dict[str, object]:
    """Return what the modules export, by path; what several of them export is there under each."""
    return {
        f"{module}.{name}": _named(f"{module}.{name}")
        for module in MODULES
        for name in importlib.import_module(module).__all__
    }


@pytest.mark.parametrize("language", [CHINESE, ENGLISH], ids=["zh", "en"])
def test_every_public_name_once(language: Path) -> None:
    """A name that several modules export stands there under one of them."""
    listed = [
        name
        for page in sorted((language / "reference").glob("*.md"))
        for name in _DIRECTIVE.findall(page.read_text(encoding="utf-8"))
    ]
    public = _public()
    assert set(listed) <= set(public), set(listed) - set(public)
    assert {id(public[name]) for name in public} == {id(public[name]) for name in listed}, [
        name for name, found in public.items() if all(found is not public[each] for each in listed)
    ]
    twice = [name for name, times in Counter(id(public[name]) for name in listed).items() if times > 1]
    assert not twice, [name for name in listed if id(public[name]) in twice]


def test_both_languages_have_the_same_directives() -> None:
    """Names, their order and the options they are shown with are the same."""
    for page in (CHINESE / "reference").glob("*.md"):
        other = (ENGLISH / "reference" / page.name).read_text(encoding="utf-8")
        assert _options(page.read_text(encoding="utf-8")) == _options(other), page.name


def _options(text: str) -> list[str]:
    return re.findall(r"^::: .+(?:\n    .+)*", text, re.MULTILINE)


def test_the_tree_of_errors() -> None:
    """Each class stands under its base class, in the order of the tree in the module."""
    drawn = next(block.text for block in blocks_of(CHINESE / "reference/errors.md"))
    classes = [line.split("── ")[-1] for line in drawn.splitlines()]
    bases: list[str] = []
    for line, name in zip(drawn.splitlines(), classes, strict=True):
        level = (len(line) - len(name)) // 4
        bases[level:] = [name]
        base = getattr(errors, name).__bases__[0]
        assert base.__name__ == (bases[level - 1] if level else "Exception")
    every = {name for name, found in vars(errors).items() if isinstance(found, type) and issubclass(found, EkbError)}
    assert set(classes) == every
