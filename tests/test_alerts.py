"""The example of alert rules, and the list of series in the documentation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ekb_async.backlog.metrics.series import SERIES

DOCS = Path(__file__).parent.parent / "docs"
NAMES = {each.prometheus_name for each in SERIES}
_NAME = re.compile(r"\bekb_[a-z_]+")
_SELECTORS = re.compile(r"(ekb_[a-z_]+)\{([^}]*)\}")
_MATCHER = re.compile(r'\s*(\w+)\s*(?:=~|!~|!=|=)\s*"[^"]*"\s*')
_PARTS = re.compile(
    r"""ekb_[a-z_]+|\{[^{}]*\}|\[\d+[smhd]\]|\d+(?:\.\d+)?|[()+*/<>=!,-]|\s+
    |\b(?:time|absent|delta|sum|max|min|by|on|unless|and|or|ignoring|group_left|backlog|instance|job|period|tenant)\b""",
    re.VERBOSE,
)
LABELS = {
    "ekb_backlog_calls": {"state", "kind"},
    "ekb_backlog_rows": {"state"},
    "ekb_backlog_waiting_calls": {"reason"},
    "ekb_backlog_failed_calls": {"error"},
    "ekb_backlog_runs": {"state"},
    "ekb_backlog_spent_calls": {"period"},
    "ekb_backlog_budget_calls": {"period"},
    "ekb_backlog_tenants": {"condition"},
    "ekb_backlog_tenant_oldest_ready_age_seconds": {"tenant", "rest"},
}


def rules() -> list[dict[str, Any]]:
    [group] = yaml.safe_load((DOCS / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    return list(group["rules"])


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_a_rule(rule: dict[str, Any]) -> None:
    """It names series and labels that exist, is well-formed, and says what to do."""
    expression = rule["expr"]
    assert set(_NAME.findall(expression)) <= NAMES
    for name, matchers in _SELECTORS.findall(expression):
        for matcher in matchers.split(","):
            found = _MATCHER.fullmatch(matcher)
            assert found is not None
            assert found[1] in LABELS[name]
    assert _PARTS.sub("", expression) == ""
    assert expression.count("(") == expression.count(")")
    assert rule["labels"].keys() == {"severity"}
    assert rule["annotations"].keys() == {"summary", "action"}
    assert re.fullmatch(r"(\d+[mh])?", rule.get("for", ""))


def test_names_of_rules() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names))


def test_the_documentation_has_all_series() -> None:
    text = (DOCS / "en" / "operating.md").read_text(encoding="utf-8")
    listed = {name for line in text.splitlines() if line.startswith("| `ekb_backlog") for name in _NAME.findall(line)}
    assert listed == NAMES
