"""The accounts of tenants, and whether they have changed since sessions were made with them.

A file of accounts is read again when it has changed. A function of the user is called again for tenants whose keys were
refused, or whose session it could not make: its next session may have other keys. Both happen now and then, while
sessions are used or changes are looked for, never more often than `limits` says.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable

from ekb_async.config import SessionConfig
from ekb_async.errors import ConfigError
from ekb_async.session.limits import LIMITS
from ekb_async.session.session import EkbSession
from ekb_async.session.tenant_file import TenantCredentials

SessionForTenant = Callable[[str], EkbSession | Awaitable[EkbSession]]


class Accounts:
    """Makes the sessions of tenants, and detects accounts that have changed since."""

    def __init__(self, session_for_tenant: SessionForTenant) -> None:
        self._session_for_tenant = session_for_tenant
        self._file = session_for_tenant if isinstance(session_for_tenant, TenantCredentials) else None
        self._now = asyncio.get_running_loop().time
        self._used: dict[str, object] = {}
        """The identity of each tenant's last session; None if none could be made."""
        self._configs: dict[str, SessionConfig] = {}
        self._suspects: dict[str, float] = {}
        """Tenants that were refused, and from when on the function is called again for them."""
        self._next_look = 0.0
        self._revision = 0
        self._made_anew: set[str] = set()

    async def session(self, tenant: str) -> EkbSession:
        """Make a session of a tenant. Raises `ConfigError`, or the error of the user's function."""
        try:
            if self._file is not None:
                await self._look_at_file()
            session = await self._made(tenant)
        except BaseException:
            self._used[tenant] = None
            self.suspect(tenant)
            raise
        if self._used.get(tenant, session.identity) != session.identity:
            self._made_anew.add(tenant)
        self._used[tenant] = session.identity
        self._configs[tenant] = session.config
        return session

    def made_anew(self) -> set[str]:
        """Return the tenants whose session was made with another account than the one before, each once."""
        made, self._made_anew = self._made_anew, set()
        return made

    def config(self, tenant: str) -> SessionConfig | None:
        """Return the settings of a tenant's sessions, None if they are not known yet."""
        if self._file is not None and tenant in self._file:
            return self._file.config(tenant)
        return self._configs.get(tenant)

    def suspect(self, tenant: str) -> None:
        """Note that a tenant was refused, so that its account is worth looking at again."""
        self._suspects.setdefault(tenant, self._now() + LIMITS.ask_again_seconds)

    def trust(self, tenant: str) -> None:
        """Note that a tenant is not refused."""
        self._suspects.pop(tenant, None)

    def is_suspect(self, tenant: str) -> bool:
        return tenant in self._suspects

    @property
    def are_in_file(self) -> bool:
        return self._file is not None

    @property
    def look_is_due(self) -> bool:
        """Whether it is time to look at the file again."""
        return self._file is not None and self._now() >= self._next_look

    async def look(self) -> set[str]:
        """Look for changed accounts, and return the tenants whose account changed since their last session was made."""
        if self._file is not None:
            await self._look_at_file()
            return self.changed_in_file()
        changed = await self._changed_by_function()
        self._forget(changed)
        return changed

    def changed_in_file(self) -> set[str]:
        """Return the tenants whose account changed when the file was last read, each once."""
        if self._file is None or self._file.revision == self._revision:
            return set()
        self._revision = self._file.revision
        present = {tenant: self._file.identity(tenant) for tenant in self._used if tenant or tenant in self._file}
        changed = {tenant for tenant, identity in present.items() if identity != self._used[tenant]}
        self._used |= {tenant: present[tenant] for tenant in changed}
        self._forget(changed)
        return changed

    def _forget(self, changed: set[str]) -> None:
        for tenant in changed:
            self.trust(tenant)
            self._configs.pop(tenant, None)

    async def _look_at_file(self) -> None:
        if self._file is not None and self.look_is_due:
            self._next_look = self._now() + LIMITS.look_at_file_seconds
            await self._file.refresh()

    async def _changed_by_function(self) -> set[str]:
        due = [tenant for tenant, due in self._suspects.items() if self._now() >= due]
        self._suspects |= dict.fromkeys(due, self._now() + LIMITS.ask_again_seconds)
        changed = await asyncio.gather(*(self._has_changed(tenant) for tenant in due))
        return {tenant for tenant, has_changed in zip(due, changed, strict=True) if has_changed}

    async def _has_changed(self, tenant: str) -> bool:
        try:
            async with asyncio.timeout(LIMITS.answer_again_seconds):
                session = await self._made(tenant)
        except Exception:  # noqa: BLE001 - it is raised again when the session is needed
            return False
        await session.close()
        if session.identity == self._used.get(tenant):
            return False
        self._used[tenant] = session.identity
        return True

    async def _made(self, tenant: str) -> EkbSession:
        made = self._session_for_tenant(tenant)
        session = await made if inspect.isawaitable(made) else made
        if not isinstance(session, EkbSession):
            raise ConfigError(f"session_for_tenant gave no EkbSession but {type(session).__name__}")
        return session
