"""Running `ekb doctor` and reading what it found."""

from __future__ import annotations

from typing import Any, NamedTuple

from ekb_async.sandbox import Replay, Sandbox
from tests.support import command


class Diagnosis(NamedTuple):
    """The exit status of `ekb doctor --json`, and its checks by name."""

    status: int
    is_ok: bool
    checks: dict[str, dict[str, Any]]
    text: str
    """Everything that the command wrote."""

    @property
    def faults(self) -> list[str]:
        """The names of the checks that failed."""
        return self.named("failed")

    def named(self, state: str) -> list[str]:
        """Return the names of the checks in this state."""
        return [name for name, check in self.checks.items() if check["state"] == state]

    def detail(self, name: str) -> str:
        """Return what a check found, and what it advises."""
        return f"{self.checks[name]['detail']} {self.checks[name]['advice']}"


async def diagnosed(*options: str, box: Sandbox | Replay | None, **variables: str) -> Diagnosis:
    """Run `ekb doctor --json` with the keys of a sandbox and these variables."""
    ended = await command.ekb("doctor", "--json", *options, box=box, **variables)
    (found,) = ended.lines
    checks = {check["name"]: check for check in found["checks"]}
    assert all(set(check) == {"name", "state", "detail", "advice"} for check in found["checks"])
    # Every fault and warning has an advice, and nothing else has.
    assert all(bool(check["advice"]) == (check["state"] in {"failed", "warning"}) for check in checks.values())
    assert found["ok"] == (ended.status == 0)
    return Diagnosis(ended.status, found["ok"], checks, ended.output.decode() + ended.messages)
