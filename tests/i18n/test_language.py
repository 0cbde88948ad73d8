"""The language of a person: what the command line, the environment and the system say."""

from __future__ import annotations

import pytest

from ekb_async.cli.language import wanted_language
from ekb_async.errors import ConfigError
from ekb_async.i18n import language_of


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C.UTF-8"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "zh_TW"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": ""}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "EKB_LANG": "en"}, "en"),
        ({"LC_ALL": "C", "EKB_LANG": "zh"}, "zh"),
    ],
)
def test_language_of_environment(environment: dict[str, str], language: str) -> None:
    """EKB_LANG counts before the locale, and of the locale the variable that programs use for messages."""
    assert language_of(environment) == language


def test_language_of_windows() -> None:
    """Without variables, the name of the system's locale counts."""
    assert language_of({}, "Chinese (Simplified)_China") == "zh"
    assert language_of({}, "German_Germany") == "en"


def test_wrong_variable() -> None:
    """Another value of EKB_LANG is an error, since the person wanted something."""
    with pytest.raises(ConfigError, match="EKB_LANG must be one of en, zh"):
        language_of({"EKB_LANG": "fr"})


@pytest.mark.parametrize(
    ("arguments", "language"),
    [
        (["--lang", "zh", "backlog"], "zh"),
        (["backlog", "list", "x", "--lang=zh"], "zh"),
        (["--lang", "en", "backlog", "--lang", "zh"], "zh"),
        (["ocr", "--", "--lang", "zh"], "en"),
        (["backlog", "list", "zh"], "en"),
        (["backlog", "--lang"], "en"),
        ([], "en"),
    ],
)
def test_language_of_command_line(arguments: list[str], language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The option may stand anywhere; the last one counts."""
    monkeypatch.setenv("EKB_LANG", "en")
    assert wanted_language(arguments) == language
