"""Files of tenants' accounts that tests write and change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ekb_async.sandbox import Sandbox

WRONG = "5ecret-that-is-wrong"


def account(box: Sandbox, **fields: Any) -> dict[str, Any]:
    """Return the account of a tenant on a sandbox, with other or more fields."""
    keys = box.credentials
    return {"app_key": keys.app_key, "app_security": keys.app_security, "base_url": box.base_url, **fields}


def write_accounts(directory: Path, **accounts: dict[str, Any]) -> Path:
    """Write the accounts of tenants in place of those that were there, and return the path of the file."""
    path, new = directory / "tenants.json", directory / "new.json"
    new.touch(mode=0o600)
    new.write_text(json.dumps(accounts), encoding="utf-8")
    new.replace(path)
    return path
