"""The texts for a person that stand in the code, found by what they are.

Arguments of `Texts` and of `message` are texts. So are all other English literals with two words in a row, and single
words in errors and log lines, but for what no person reads: docstrings, SQL, patterns, names of tasks, names that are
compared or looked up, and mistakes of a program that calls the package, which end in its traceback. Values in
f-strings, and `%s` of log lines, become `{0}`, `{1}`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

from ekb_async.i18n.rendered import CONTEXT

Key = tuple[str | None, Any]
"""The context of a text, and the text, or its singular and plural."""

_WORDS_IN_A_ROW = re.compile(r"(?:\b[Aa]|[A-Za-z]{2,})[,:;]? (?:an? )?(?:[a-z]{2,}|[A-Z]{2,})|\b[a-z]{3,} \{\d+\}[:,] ")
_ONE_WORD = re.compile(r"\b[a-z]{3,}\b.*[ {]|[ }].*\b[a-z]{3,}\b")
_VALUE = re.compile(r"\{\d+\}")
_SQL = re.compile(
    r"\b(?:SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|PRAGMA|COMMENT|BEGIN|WHERE|SET|FROM|VALUES|LISTEN|REFERENCES|RETURNING)\b"
)
_NO_SENTENCE = re.compile(r"ekb |export |<|import |bold |[ymdhs:\- .]+$")
"""What begins like a name of a task or a command line, like markup, a style or a program, or is a format of times."""
_PERCENT = re.compile(r"%(?:\.\d+)?[sdrfg]")
_TEXTS = {"texts", "_texts"}
_WORDS = {"word"}
_NO_TEXTS = {"Option", "Argument", "Typer", "deprecated", "warn_renamed", "compile", "NewType", "frozenset"} | {
    "_words",
    "_batcher",
    "cast",
    "joinpath",
}
"""Calls whose arguments are no texts, or help that the command itself has."""
_LOGGED = {"debug", "info", "warning", "error", "exception"}
_PROGRAMMING = {"RuntimeError", "AssertionError", "TypeError", "AttributeError", "NotImplementedError"}
_LOOK_UPS = {"KeyError", "IndexError", "LookupError", "BadParameter"}
"""Errors whose text is a name; the errors of the command line have texts of their own."""


def texts_in(tree: ast.AST) -> Iterator[Key]:
    """Yield the texts of a module: those that it shows, and those that are translated when they are shown."""
    yield from _shown(tree)
    for text in _made(tree):
        yield CONTEXT, text


def _shown(tree: ast.AST) -> Iterator[Key]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        arguments = [each.value for each in node.args if isinstance(each, ast.Constant) and isinstance(each.value, str)]
        name = _name(node.func)
        if name in _TEXTS and arguments:
            yield None, arguments[0] if len(arguments) == 1 else (arguments[0], arguments[1])
        elif name in _WORDS and len(arguments) == 2:
            yield arguments[0], arguments[1]
        elif name == "message" and arguments:
            yield CONTEXT, _escaped(arguments[0])


def _made(tree: ast.AST) -> Iterator[str]:
    """Yield the literals that are texts without being arguments of `Texts`, as templates."""
    skipped, said = set(_skipped(tree)), set(_said(tree))
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.JoinedStr):
            text = _template(node)
            skipped |= {id(each) for each in node.values}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = _escaped(node.value)
            text = _numbered(text) if _PERCENT.search(text) else text
        else:
            continue
        is_text = _WORDS_IN_A_ROW.search(text) or (id(node) in said and _ONE_WORD.search(_VALUE.sub("{}", text)))
        if is_text and not _SQL.search(text) and not _NO_SENTENCE.match(text.strip()):
            yield text.strip()


def _said(tree: ast.AST) -> Iterator[int]:
    """Yield the first arguments of errors and of log lines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args:
            name = _name(node.func)
            if name in _LOGGED or (name.endswith("Error") and name not in _PROGRAMMING | _LOOK_UPS):
                yield id(node.args[0])


def _skipped(tree: ast.AST) -> Iterator[int]:
    """Yield the nodes that are no such text."""
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=ast.Constant() as docstring):
                yield id(docstring)
            case ast.FunctionDef(name="__repr__"):
                yield from _all_in(node)
            case ast.Raise(exc=ast.Call(func=function)) if _name(function) in _PROGRAMMING:
                yield from _all_in(node)
            case ast.Dict(keys=keys, values=values):
                yield from map(id, keys)
                yield from (id(name) for value in values for name in _names_in(value))
            case ast.BinOp(op=ast.Div(), right=part_of_path):
                yield id(part_of_path)
            case ast.Set(elts=names):
                yield from map(id, names)
            case ast.Compare(left=left, comparators=others):
                yield from map(id, (left, *others))
            case ast.Call(func=function, args=arguments, keywords=keywords):
                yield from _skipped_in_call(_name(function), arguments, keywords)
            case _:
                pass


def _skipped_in_call(name: str, arguments: list[ast.expr], keywords: list[ast.keyword]) -> Iterator[int]:
    if name in _TEXTS | _WORDS:
        yield from map(id, arguments)
    elif name in _NO_TEXTS:
        for argument in (*arguments, *(keyword.value for keyword in keywords)):
            yield from _all_in(argument)
    for keyword in keywords:
        if keyword.arg == "name":
            yield from _all_in(keyword.value)


def _names_in(value: ast.expr) -> list[ast.expr]:
    """Return the texts of a tuple in a table, which are names that are looked up."""
    if isinstance(value, ast.Tuple) and all(isinstance(each, ast.Constant) for each in value.elts):
        return value.elts
    return []


def _all_in(node: ast.AST) -> Iterator[int]:
    return map(id, ast.walk(node))


def _name(function: ast.expr) -> str:
    return str(getattr(function, "id", "") or getattr(function, "attr", ""))


def _template(node: ast.JoinedStr) -> str:
    pieces, count = [], 0
    for part in node.values:
        if isinstance(part, ast.Constant):
            pieces.append(_escaped(str(part.value)))
        else:
            pieces.append(f"{{{count}}}")
            count += 1
    return "".join(pieces)


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _numbered(text: str) -> str:
    count = iter(range(100))
    return _PERCENT.sub(lambda _: f"{{{next(count)}}}", text)
