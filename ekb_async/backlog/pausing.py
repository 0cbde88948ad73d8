"""What a person holds back: pauses, and calls that are cancelled."""

from __future__ import annotations

from ekb_async.backlog.input.rows.kinds import KINDS
from ekb_async.backlog.run.shown.said import states_in
from ekb_async.backlog.run.shown.tenants import TenantState
from ekb_async.backlog.store.call_store import CallStore
from ekb_async.backlog.store.changes.pausing import (
    Scope,
    calls_to_cancel,
    cancel_calls,
    pause_calls,
    pauses_of,
    resume_calls,
)
from ekb_async.backlog.store.values.reports import CancelReport, Pause, PauseReport, ResumeReport
from ekb_async.errors import ConfigError
from ekb_async.validation import checked_choice


class Pausing:
    """The part of a `Backlog` that pauses, resumes and cancels calls, also while runs and workers are at work."""

    _store: CallStore

    async def pause(
        self,
        *,
        tenant: str | None = None,
        kind: str | None = None,
        ref: str | None = None,
        everything: bool = False,
        reason: str = "",
    ) -> PauseReport:
        """Hold the pending calls that are selected in every way given, until `resume`.

        For a tenant or a kind it takes effect at once, and holds calls that are added or given back later too; for a
        `ref` it holds the calls that are there, if all of their rows have it. Calls that were sent end; runs give back
        those that they have claimed and not sent, within seconds. `reason` is shown with the pause. Pausing the same
        again changes the reason, if one is given. Raises `ConfigError` if nothing is selected, unless `everything`, and
        for an unknown kind.
        """
        return await pause_calls(self._store, _scope(tenant, kind, ref, everything=everything), reason.strip())

    async def resume(
        self,
        *,
        tenant: str | None = None,
        kind: str | None = None,
        ref: str | None = None,
        everything: bool = False,
    ) -> ResumeReport:
        """End the pauses that lie within the selection, and let its calls be made that no other pause holds.

        Runs and workers go on with them within seconds. The pause of a tenant is not ended by resuming one kind: the
        report names it. Raises as `pause` does.
        """
        return await resume_calls(self._store, _scope(tenant, kind, ref, everything=everything))

    async def cancel(
        self, *, tenant: str | None = None, kind: str | None = None, ref: str | None = None, reason: str = ""
    ) -> CancelReport:
        """Let the pending calls that are selected in every way given fail with `CallCancelledError`.

        So do those that are held or wait for another day. They cost nothing. Calls that a run has claimed are left:
        pause them first, then it gives back what it has not sent. A call whose rows have several refs is cancelled only
        by another selection. `retry` leaves cancelled rows, unless it is asked for them. Raises as `pause` does.
        """
        return await cancel_calls(self._store, _scope(tenant, kind, ref), reason.strip())

    async def to_cancel(
        self, *, tenant: str | None = None, kind: str | None = None, ref: str | None = None
    ) -> CancelReport:
        """Return what `cancel` with the same arguments would do. Raises as it does."""
        return await calls_to_cancel(self._store, _scope(tenant, kind, ref))

    async def tenant_states(self) -> list[TenantState]:
        """Return why calls of tenants are not made at present, in the order of their names.

        Tenants of which there is nothing to say are left out. What runs and workers have paused or given up is what
        they have written into the backlog, at most some seconds ago, and vanishes with them.
        """
        said = [each.said for each in await self._store.runs_at_work()]
        return states_in(await self._store.held_by_tenant(), await pauses_of(self._store), said)

    async def pauses(self) -> list[Pause]:
        """Return the pauses that persons have made, the first one first."""
        return await pauses_of(self._store)


def _scope(tenant: str | None, kind: str | None, ref: str | None, *, everything: bool = False) -> Scope:
    if (tenant is None and kind is None and ref is None) != everything:
        if everything:
            raise ConfigError("everything cannot be selected together with a tenant, kind or ref")
        raise ConfigError("select a tenant, a kind or a ref")
    checked_choice("kind", kind, KINDS)
    if ref is not None and not ref:
        raise ConfigError("ref must not be empty")
    return Scope(tenant, kind, ref)
