"""The page about changed names has every name that the code warns about."""

from __future__ import annotations

import re

from tests.support.pages import ENGLISH, ROOT


def test_every_deprecated_name() -> None:
    """Both names stand in one row of the table."""
    rows = (ENGLISH / "migration.md").read_text(encoding="utf-8").splitlines()
    warned = [
        pair
        for module in (ROOT / "ekb_async").rglob("*.py")
        for pair in re.findall(r'warn_renamed\("([^"]+)", "([^"]+)"\)', module.read_text(encoding="utf-8"))
    ]
    assert len(warned) >= 8
    for old, new in warned:
        name = old.rstrip(")")
        assert any(name in row and new in row for row in rows), f"{old} → {new}"
