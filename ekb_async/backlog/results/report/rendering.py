"""The templates of a page: filled by Jinja2, which is an extra and is imported on first use.

The page's policy lets nothing be loaded, and only the styles and scripts run that are part of it, by their hashes.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

from ekb_async.backlog.results.report.formats import Formats, plain
from ekb_async.backlog.results.report.view import Head, Section
from ekb_async.errors import ConfigError

if TYPE_CHECKING:
    from jinja2 import Environment

_ROOM = "ekb_async.backlog.results.report"
_ALONE = "default-src 'none'; style-src {style}; script-src {script}; base-uri 'none'; form-action 'none'"
_LIVE = f"{_ALONE}; connect-src 'self'"


class Live(NamedTuple):
    """What a page says that is kept up to date: lines about the work, a note if it is not, and how often it asks."""

    lines: Sequence[str]
    trouble: str
    seconds: int


class Renderer:
    """Makes pages of their parts. Raises `ConfigError` if Jinja2 is not installed."""

    def __init__(self, formats: Formats) -> None:
        self._formats = formats
        self._environment = _environment()

    def page(self, head: Head, sections: Sequence[Section], live: Live | None = None) -> str:
        """Return the page."""
        texts = self._formats.texts
        scripts = [_read("page.js"), *([_read("live.js")] if live else [])]
        style = _read("page.css")
        policy = (_LIVE if live else _ALONE).format(style=_hash(style), script=" ".join(map(_hash, scripts)))
        return self._environment.get_template("page.html").render(
            lang="zh-CN" if texts.is_chinese else texts.lang,
            policy=policy,
            style=style,
            scripts=scripts,
            title=plain(head.title),
            head=head,
            sections=sections,
            live=live,
            words=self._words(),
        )

    def _words(self) -> dict[str, str]:
        """Return the texts that the template and its scripts use."""
        texts = self._formats.texts
        return {
            "search": texts("Search in this table"),
            "found": texts("{shown} of {count} lines shown", shown="{shown}", count="{count}"),
            "show": texts("Show the figures"),
            "top": texts("Contents"),
            "away": texts("No connection since {time}; the page shows the last state.", time="{time}"),
        }


def policy_of(page: str) -> str:
    """Return the policy that a page states."""
    begin = page.index('content="', page.index("Content-Security-Policy")) + len('content="')
    return page[begin : page.index('"', begin)].replace("&#39;", "'")


@lru_cache(maxsize=1)
def _environment() -> Environment:
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise ConfigError(
            f'a report needs a library that is not there ({error}): pip install "ekb-async[report]"'
        ) from None
    return Environment(
        loader=PackageLoader(_ROOM),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@lru_cache
def _read(name: str) -> str:
    return files(_ROOM).joinpath("templates", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"
