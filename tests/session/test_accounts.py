"""Accounts that change while a pool of sessions is in use."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import msgspec
import pytest

from ekb_async import AppCredentials, AuthError, ConfigError, EkbSession, SessionConfig, TenantCredentials
from ekb_async.errors import SessionClosedError
from ekb_async.sandbox import Sandbox
from ekb_async.sandbox.vendor.vendor import Vendor
from ekb_async.session import accounts
from ekb_async.session.limits import LIMITS
from ekb_async.session.tenants import TenantSessions
from ekb_async.simulation import InMemoryTransport, VirtualTimeLoop
from tests.support.tenant_files import WRONG, account, write_accounts
from tests.support.waiting import until


async def works(pool: TenantSessions, tenant: str) -> bool:
    """Return whether a call of a tenant succeeds; its keys may be refused, and its account missing."""
    try:
        async with pool.session(tenant) as ekb:
            await ekb.flow_invoices(codes=["B1"])
    except (AuthError, ConfigError):
        return False
    return True


def pool_on(file: Path) -> TenantSessions:
    return TenantSessions(TenantCredentials.read(file))


async def test_a_corrected_key_is_used(tmp_path: Path, quick_box: Sandbox) -> None:
    """A tenant with a wrong key can be used seconds after the file has the right one."""
    file = write_accounts(tmp_path, a=account(quick_box, app_security=WRONG))
    async with pool_on(file) as pool:
        assert not await works(pool, "a")
        assert not await works(pool, "a")
        assert quick_box.count("token") == 1
        write_accounts(tmp_path, a=account(quick_box))
        await until(lambda: works(pool, "a"))
        assert quick_box.count("token") == 2
        assert await pool.changed() == {"a"}
        assert await pool.changed() == set()


async def test_tenants_that_come_and_go(tmp_path: Path, quick_box: Sandbox) -> None:
    """A tenant that is added can be used, one that is removed cannot, and the others keep their sessions."""
    file = write_accounts(tmp_path, a=account(quick_box), b=account(quick_box))
    async with pool_on(file) as pool:
        assert await works(pool, "a")
        assert not await works(pool, "c")
        async with pool.session("b") as kept:
            pass
        write_accounts(tmp_path, b=account(quick_box), c=account(quick_box))
        await until(lambda: works(pool, "c"))
        assert not await works(pool, "a")
        async with pool.session("b") as same:
            assert same is kept
        assert await pool.changed() == {"a", "c"}


async def test_the_first_use_after_a_change(
    tmp_path: Path, quick_box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long ago an account was replaced or removed, the next call is not made with the old one."""
    monkeypatch.setattr(accounts, "LIMITS", msgspec.structs.replace(LIMITS, look_at_file_seconds=0.0))
    file = write_accounts(tmp_path, a=account(quick_box))
    async with Sandbox() as other, pool_on(file) as pool:
        assert await works(pool, "a")
        write_accounts(tmp_path, a=account(other))
        assert await works(pool, "a")
        assert (quick_box.count("token"), other.count("token")) == (1, 1)
        write_accounts(tmp_path)
        assert not await works(pool, "a")


async def test_a_session_in_use_is_closed_by_its_last_user(tmp_path: Path, quick_box: Sandbox) -> None:
    """While a session with the old account is in use, new users get one with the new account."""
    file = write_accounts(tmp_path, a=account(quick_box, ocr_rate=5))
    async with pool_on(file) as pool:
        async with pool.session("a") as first, pool.session("a") as second:
            assert second is first
            write_accounts(tmp_path, a=account(quick_box, ocr_rate=7))

            async def is_replaced() -> bool:
                async with pool.session("a") as ekb:
                    return ekb is not first

            await until(is_replaced)
            assert (await pool.config("a")).ocr_rate == 7
            assert not first.closed
            await first.flow_invoices(codes=["B1"])

        async def is_closed() -> bool:
            return first.closed

        await until(is_closed)
    assert [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("ekb ")] == []


async def test_a_file_with_an_error_changes_nothing(
    tmp_path: Path, quick_box: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    """Accounts stay as they are while the file is wrong or missing; each state is one warning, without secrets."""
    file = write_accounts(tmp_path, a=account(quick_box))
    tenants = TenantCredentials.read(file)
    async with TenantSessions(tenants) as pool:
        assert await works(pool, "a")
        write_accounts(tmp_path, a={"app_key": "k", "app_security": WRONG, "colour": "red"})
        await tenants.refresh()
        await tenants.refresh()
        file.unlink()
        await tenants.refresh()
        assert await pool.changed() == set()
        assert await works(pool, "a")
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 2
    assert "tenant 'a': there is no field 'colour'" in warnings[0]
    assert "No such file" in warnings[1]
    assert WRONG not in caplog.text


def test_a_function_is_called_again_after_a_refusal() -> None:
    """For a tenant whose keys were refused, now and then; unchanged keys are not tried again before their time."""
    vendor = Vendor()
    keys = {"a": WRONG}
    calls: list[str] = []

    def session_for_tenant(tenant: str) -> EkbSession:
        calls.append(tenant)
        credentials = AppCredentials(app_key=vendor.rules.app_key, app_security=keys[tenant])
        return EkbSession(credentials, transport=InMemoryTransport(vendor))

    async def main() -> None:
        async with TenantSessions(session_for_tenant) as pool:
            for _ in range(20):
                assert not await works(pool, "a")
                await asyncio.sleep(1)
            assert 2 <= len(calls) <= 5
            assert await pool.changed() == set()
            keys["a"] = vendor.rules.app_security
            await asyncio.sleep(6)
            assert await works(pool, "a")
            assert await pool.changed() == {"a"}
            before = len(calls)
            for _ in range(20):
                assert await works(pool, "a")
                await asyncio.sleep(1)
            assert len(calls) == before

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(main())
    assert vendor.tokens_issued == 1


def test_a_function_that_does_not_return() -> None:
    """A tenant whose function hangs does not keep the changes of other tenants from being found."""
    vendor = Vendor()
    keys = {"a": WRONG, "b": WRONG}
    hangs = False

    async def session_for_tenant(tenant: str) -> EkbSession:
        if hangs and tenant == "b":
            await asyncio.Event().wait()
        credentials = AppCredentials(app_key=vendor.rules.app_key, app_security=keys[tenant])
        return EkbSession(credentials, transport=InMemoryTransport(vendor))

    async def main() -> None:
        nonlocal hangs
        async with TenantSessions(session_for_tenant) as pool, asyncio.timeout(60):
            assert not await works(pool, "a")
            assert not await works(pool, "b")
            hangs = True
            keys["a"] = vendor.rules.app_security
            await asyncio.sleep(6)
            assert await pool.changed() == {"a"}
            assert await works(pool, "a")

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(main())


async def test_a_pool_that_is_closed_while_changes_are_looked_for() -> None:
    """A caller that waits for a look at the accounts gets no session of a closed pool."""
    made: list[EkbSession] = []
    asked = asyncio.Event()

    async def session_for_tenant(tenant: str) -> EkbSession:
        if made:
            asked.set()
            await asyncio.Event().wait()
        made.append(EkbSession(AppCredentials(app_key="k", app_security="s")))
        raise ConfigError("not now")

    with pytest.MonkeyPatch.context() as patch:
        limits = msgspec.structs.replace(LIMITS, ask_again_seconds=0.0)
        patch.setattr("ekb_async.session.accounts.LIMITS", limits)
        async with TenantSessions(session_for_tenant) as pool:
            assert not await works(pool, "a")
            waiting = asyncio.create_task(works(pool, "a"))
            await asked.wait()
        with pytest.raises(SessionClosedError, match="the tenants' sessions are closed"):
            await waiting
    assert [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("ekb ")] == []


async def test_sessions_are_prepared(tmp_path: Path, quick_box: Sandbox) -> None:
    """`prepare` gets each session with its tenant, that without a tenant included."""
    prepared: list[str] = []

    def prepare(session: EkbSession, tenant: str) -> EkbSession:
        prepared.append(tenant)
        return session

    config = SessionConfig(ocr_rate=3)
    tenants = TenantCredentials.read(
        write_accounts(tmp_path, a=account(quick_box)),
        prepare=prepare,
        without_tenant=lambda: EkbSession(quick_box.credentials, base_url=quick_box.base_url, config=config),
    )
    async with TenantSessions(tenants) as pool:
        assert await works(pool, "a")
        assert await works(pool, "")
        assert (await pool.config("")).ocr_rate == 3
    assert prepared == ["a", ""]


async def test_a_function_around_the_file(tmp_path: Path, quick_box: Sandbox) -> None:
    """Sessions that a function of the user makes with the file have the accounts that it contains then."""
    tenants = TenantCredentials.read(write_accounts(tmp_path, a=account(quick_box, app_security=WRONG)))

    def session_for_tenant(tenant: str) -> EkbSession:
        return tenants(tenant)

    async with TenantSessions(session_for_tenant) as pool:
        assert not await works(pool, "a")
        write_accounts(tmp_path, a=account(quick_box))
        await until(lambda: works(pool, "a"))
