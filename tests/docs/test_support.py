"""The page about supported versions says what the package declares, and which versions its stores have."""

from __future__ import annotations

import re
import tomllib

from ekb_async.storage.migrations.steps import steps
from tests.support.pages import ENGLISH, ROOT

FOR_DEVELOPERS = {"docs", "test", "bench"}


def test_dependencies_and_versions() -> None:
    """Every requirement stands in the row of its extra."""
    page = (ENGLISH / "support.md").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    rows = {row.split("|")[1].strip(" `()"): row for row in page.splitlines() if row.startswith("|")}
    extras = project["optional-dependencies"]
    wanted = {"core": project["dependencies"], **{name: extras[name] for name in extras.keys() - FOR_DEVELOPERS}}
    for name, requirements in wanted.items():
        own = {each for each in requirements if not each.startswith("ekb-async[")}
        assert own == set(re.findall(r"`([^`]*[<>=][^`]*)`", rows[name])), name
    assert f"Python {project['requires-python'].removeprefix('>=')} or later" in page
    for classifier in project["classifiers"]:
        if classifier.startswith("Programming Language"):
            assert classifier.rpartition(" ")[2] in rows


def test_versions_of_stores() -> None:
    """The page has the versions that files and tables are upgraded to."""
    page = (ENGLISH / "support.md").read_text(encoding="utf-8")
    for store, name in (("Backlog files", "backlog_file"), ("Tables in a database", "postgres")):
        version = len(steps(name))
        assert f"| {store} | {version} | 1 to {version - 1} |" in page
