"""Sessions per tenant: made once, shared, closed when unused, and closed with their pool."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import random
import traceback
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer

from ekb_async import ApiError, AppCredentials, ConfigError, EkbSession, SessionClosedError, SessionConfig, StaticToken
from ekb_async.pacing.process import ProcessPacer
from ekb_async.sandbox import Sandbox
from ekb_async.sandbox.vendor.vendor import Vendor
from ekb_async.session.tenant_file import TenantCredentials
from ekb_async.session.tenants import TenantSessions
from ekb_async.simulation import InMemoryTransport, VirtualTimeLoop
from ekb_async.tokens.store import ProcessTokens

SECRET = "5ecret-of-a-tenant"
PNG = b"\x89PNG\r\n\x1a\n"


class Made:
    """A factory of sessions on an in-memory vendor, which records them."""

    def __init__(self, vendor: Vendor | None = None) -> None:
        vendor = vendor or Vendor()
        self.transport = InMemoryTransport(vendor)
        self.keys = AppCredentials(app_key=vendor.rules.app_key, app_security=vendor.rules.app_security)
        self.sessions: list[tuple[str, EkbSession]] = []

    def __call__(self, tenant: str) -> EkbSession:
        session = EkbSession(self.keys, transport=self.transport)
        self.sessions.append((tenant, session))
        return session

    @property
    def tenants(self) -> list[str]:
        return [tenant for tenant, _ in self.sessions]

    @property
    def open(self) -> list[str]:
        return [tenant for tenant, session in self.sessions if not session.closed]


def in_virtual_time(work: Callable[[], Awaitable[None]]) -> None:
    """Run a test in virtual time, and check that no task of the package is left."""

    async def watched() -> None:
        await work()
        assert [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("ekb ")] == []

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(watched())


async def use(pool: TenantSessions, tenant: str) -> EkbSession:
    """Borrow a tenant's session, leave it at once, and return it."""
    async with pool.session(tenant) as session:
        assert not session.closed
        return session


async def test_concurrent_callers_get_the_same_session() -> None:
    """A tenant's session is made once, also for callers that come while it is being made; other tenants have others."""
    made = Made()
    may_finish = asyncio.Event()

    async def slowly(tenant: str) -> EkbSession:
        await may_finish.wait()
        return made(tenant)

    async with TenantSessions(slowly) as pool:
        users = [asyncio.create_task(use(pool, tenant)) for tenant in ("a", "a", "b")]
        await asyncio.sleep(0)
        may_finish.set()
        first, second, third = await asyncio.gather(*users)
        assert first is second is not third
        assert await use(pool, "a") is first
    assert made.tenants == ["a", "b"]
    assert made.open == []


async def test_a_cancelled_caller_leaves_the_session_to_the_others() -> None:
    """Cancelling the first caller does not affect others that wait for the same session."""
    made, may_finish = Made(), asyncio.Event()

    async def slowly(tenant: str) -> EkbSession:
        await may_finish.wait()
        return made(tenant)

    async with TenantSessions(slowly) as pool:
        first, second = (asyncio.create_task(use(pool, "a")) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait([first])
        may_finish.set()
        assert isinstance(await second, EkbSession)
    assert first.cancelled()
    assert made.tenants == ["a"]


def test_unused_for_a_while_it_is_closed() -> None:
    """A session is closed `idle` seconds after its last use; the next caller gets a new one."""
    made = Made()

    async def work() -> None:
        async with TenantSessions(made, idle=60) as pool:
            async with pool.session("a") as session:
                await asyncio.sleep(600)
                assert made.open == ["a"]
            await asyncio.sleep(59)
            assert await use(pool, "a") is session
            await asyncio.sleep(59)
            assert made.open == ["a"]
            await asyncio.sleep(2)
            assert made.open == []
            assert await use(pool, "a") is not session

    in_virtual_time(work)
    assert made.tenants == ["a", "a"]


def test_the_least_recently_used_is_closed_first() -> None:
    """At most `max_idle` unused sessions stay open; sessions in use do not count and are not closed."""
    made = Made()

    async def work() -> None:
        async with TenantSessions(made, max_idle=2) as pool, AsyncExitStack() as used:
            for tenant in ("x", "y", "z"):
                await used.enter_async_context(pool.session(tenant))
            for tenant in ("a", "b", "a", "c"):
                await use(pool, tenant)
            await asyncio.sleep(1)
            assert made.open == ["x", "y", "z", "a", "c"]

    in_virtual_time(work)


class SlowToClose(InMemoryTransport):
    """A transport that takes an hour to close."""

    async def close(self) -> None:
        await asyncio.sleep(3600)


def test_a_caller_while_it_is_closing_gets_a_new_one() -> None:
    """A session that is being closed is not lent any more; a new one replaces it at once."""
    made = Made()
    made.transport = SlowToClose(Vendor())

    async def work() -> None:
        loop = asyncio.get_running_loop()
        async with TenantSessions(made, idle=60) as pool:
            first = await use(pool, "a")
            await asyncio.sleep(61)
            assert first.closed
            began = loop.time()
            assert await use(pool, "a") is not first
            assert loop.time() - began < 1

    in_virtual_time(work)


async def test_one_that_its_user_closed_is_replaced() -> None:
    """A session that a user has closed is not lent any more, whether others still use it or not."""
    made = Made()
    async with TenantSessions(made) as pool:
        async with pool.session("a") as first:
            await first.close()
            assert await use(pool, "a") is not first
        second = await use(pool, "a")
        await second.close()
        assert await use(pool, "a") is not second
    assert made.tenants == ["a"] * 3


def test_a_new_session_keeps_pace_and_token() -> None:
    """After a session was closed, the next one starts no call too early and fetches no second token."""
    vendor = Vendor()
    made = Made(vendor)

    async def work() -> None:
        async with TenantSessions(made, idle=0) as pool:
            for number in range(5):
                async with pool.session("a") as session:
                    await session.ocr(vendor.add_file(PNG + bytes([number]), f"{number}.png"))
                await asyncio.sleep(0.1)

    in_virtual_time(work)
    assert len(made.sessions) == 5
    calls = [(at, status) for at, call, status in made.transport.arrivals if call == "ocr"]
    assert [status for _, status in calls] == [200] * 5
    assert min(later - earlier for (earlier, _), (later, _) in itertools.pairwise(calls)) >= 1.0
    assert vendor.tokens_issued == 1


def test_tenants_with_the_same_keys_have_one_pace() -> None:
    """The vendor's limit applies to an enterprise, so two tenants with the same keys share one pace."""
    vendor = Vendor()
    made = Made(vendor)

    async def recognise(pool: TenantSessions, tenant: str) -> None:
        async with pool.session(tenant) as session:
            for number in range(5):
                await session.ocr(vendor.add_file(PNG + f"{tenant}{number}".encode(), f"{tenant}{number}.png"))

    async def work() -> None:
        async with TenantSessions(made) as pool:
            await asyncio.gather(recognise(pool, "a"), recognise(pool, "b"))

    in_virtual_time(work)
    assert {status for _, call, status in made.transport.arrivals if call == "ocr"} == {200}


async def test_sessions_have_their_connections_in_common() -> None:
    """Twenty tenants on one platform, one after another, use one connection; a session's own client stays open."""
    peers = set()

    async def answer(request: web.BaseRequest) -> web.Response:
        assert request.transport is not None
        peers.add(request.transport.get_extra_info("peername"))
        return web.Response(status=404)

    async with RawTestServer(answer) as server, aiohttp.ClientSession() as own:

        def session_for_tenant(tenant: str) -> EkbSession:
            client = own if tenant == "its own" else None
            return EkbSession(StaticToken("t"), base_url=str(server.make_url("")), client_session=client)

        async with TenantSessions(session_for_tenant, max_idle=3) as pool:
            for tenant in (*map(str, range(20)), "its own"):
                async with pool.session(tenant) as session:
                    with pytest.raises(ApiError):
                        await session.flow_invoices(codes=["B1"])
        assert not own.closed
    assert len(peers) == 2


class CountedPacer(ProcessPacer):
    """A pacer that counts the paces it has made."""

    def __init__(self) -> None:
        super().__init__()
        self.made = 0

    def pace(self, key: str, rate: float, margin: float, most_wait: float) -> Any:
        self.made += 1
        return super().pace(key, rate, margin, most_wait)


async def test_a_session_keeps_its_own_pacer() -> None:
    """The pool's pacer and token store are used by sessions without their own."""
    pools, own = CountedPacer(), CountedPacer()
    made = Made()

    def session_for_tenant(tenant: str) -> EkbSession:
        pacer = own if tenant == "its own" else None
        return EkbSession(made.keys, transport=made.transport, pacer=pacer)

    tokens = ProcessTokens()
    async with TenantSessions(session_for_tenant, pacer=pools, token_store=tokens) as pool:
        async with pool.session("a") as session:
            await session.flow_invoices(codes=["B1"])
        assert (pools.made > 0, own.made) == (True, 0)
        of_pool = pools.made
        await use(pool, "its own")
        assert (pools.made, own.made > 0) == (of_pool, True)
    assert "1 enterprises" in repr(tokens)


class WrongError(Exception):
    """An error of the user's program, whose text contains a secret."""


@pytest.mark.parametrize(
    "problem",
    [KeyError(SECRET), ConfigError("app_key must be a text that is not empty"), WrongError(f"pg://{SECRET}@db"), None],
    ids=["unknown", "of the package", "any other", "no session"],
)
async def test_why_there_is_no_session(problem: Exception | None) -> None:
    """All waiting callers get a `ConfigError` with the tenant and no secret; the next caller tries again."""
    made, failing = Made(), True

    async def session_for_tenant(tenant: str) -> EkbSession:
        if not failing:
            return made(tenant)
        if problem is None:
            return None  # type: ignore[return-value]  # the error to test
        raise problem

    async with TenantSessions(session_for_tenant) as pool:
        failures = await asyncio.gather(use(pool, "acme"), use(pool, "acme"), return_exceptions=True)
        for failure in failures:
            assert isinstance(failure, ConfigError)
            assert "'acme'" in str(failure)
            assert SECRET not in "".join(traceback.format_exception(failure))
            if isinstance(problem, ConfigError):
                assert str(problem) in str(failure)
        assert failures[0] is not failures[1]
        failing = False
        await use(pool, "acme")


async def test_a_session_in_use_elsewhere_is_refused() -> None:
    """The pool owns and closes its sessions, so it refuses one that is open already or belongs to another tenant."""
    async with Made()("") as kept:
        async with TenantSessions(lambda tenant: kept) as pool:
            with pytest.raises(ConfigError, match=r"'a'.*used already"):
                await use(pool, "a")
        assert not kept.closed


async def test_closing_with_sessions_in_use() -> None:
    """Closing ends sessions in use or being made as `EkbSession.close` does, also by several concurrent calls."""
    made = Made()

    async def session_for_tenant(tenant: str) -> EkbSession:
        if tenant == "never":
            await asyncio.Event().wait()
        return made(tenant)

    pool = TenantSessions(session_for_tenant)
    never = asyncio.create_task(use(pool, "never"))
    async with pool.session("a") as session:
        await asyncio.gather(pool.close(), pool.close())
        assert session.closed
        with pytest.raises(SessionClosedError):
            await session.flow_invoices(codes=["B1"])
    with pytest.raises(SessionClosedError):
        await never
    with pytest.raises(SessionClosedError):
        await use(pool, "a")
    await pool.close()


def test_callers_that_come_and_go() -> None:
    """However callers come, leave, fail or are cancelled, each inside the block has its tenant's only open session."""
    made, chance = Made(), random.Random(7)
    given: dict[str, list[EkbSession]] = defaultdict(list)

    async def session_for_tenant(tenant: str) -> EkbSession:
        await asyncio.sleep(chance.random())
        if chance.random() < 0.2:
            raise KeyError(tenant)
        return made(tenant)

    async def borrow(pool: TenantSessions) -> None:
        await asyncio.sleep(30 * chance.random())
        tenant = chance.choice("abcdefgh")
        with contextlib.suppress(ConfigError):
            async with pool.session(tenant) as session:
                inside = given[tenant]
                inside.append(session)
                try:
                    await asyncio.sleep(chance.random())
                    assert set(inside) == {session}
                    assert not session.closed
                finally:
                    inside.remove(session)

    async def work() -> None:
        async with TenantSessions(session_for_tenant, max_idle=2, idle=0.5) as pool:
            callers = [asyncio.create_task(borrow(pool)) for _ in range(500)]
            for _ in range(100):
                await asyncio.sleep(0.3)
                chance.choice(callers).cancel()
            ends = await asyncio.gather(*callers, return_exceptions=True)
        assert {type(end) for end in ends} == {type(None), asyncio.CancelledError}

    in_virtual_time(work)
    assert len(made.sessions) > 50
    assert made.open == []


def test_sessions_are_closed_all_at_once() -> None:
    """Closing a hundred tenants takes as long as the slowest; a cancelled `close` still closes all."""
    made = Made()
    made.transport = SlowToClose(Vendor())

    async def work() -> None:
        loop = asyncio.get_running_loop()
        pool = TenantSessions(made)
        for number in range(100):
            await use(pool, f"tenant {number}")
        began = loop.time()
        closing = asyncio.create_task(pool.close())
        await asyncio.sleep(1)
        closing.cancel()
        await asyncio.wait([closing])
        assert closing.cancelled()
        assert 3600 <= loop.time() - began < 3660

    in_virtual_time(work)
    assert made.open == []


class FailsToClose(InMemoryTransport):
    """A transport whose `close` fails."""

    async def close(self) -> None:
        raise OSError(SECRET)


async def test_an_error_in_closing_one_closes_the_others(caplog: pytest.LogCaptureFixture) -> None:
    """An error in closing a session is logged with its tenant; the other sessions are still closed."""
    made = Made()

    def session_for_tenant(tenant: str) -> EkbSession:
        made.transport = (FailsToClose if tenant == "bad" else InMemoryTransport)(Vendor())
        return made(tenant)

    async with TenantSessions(session_for_tenant) as pool:
        await use(pool, "bad")
        await use(pool, "good")
    assert made.open == []
    (record,) = caplog.records
    assert "'bad'" in record.getMessage()
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    "arguments", [{"max_idle": 0}, {"idle": -1}, {"pacer": 1}, {"token_store": 1}, {"session_for_tenant": 1}]
)
def test_wrong_arguments(arguments: dict[str, Any]) -> None:
    """A wrong argument is a `ConfigError` that names it."""
    with pytest.raises(ConfigError, match=next(iter(arguments))):
        TenantSessions(**{"session_for_tenant": Made(), **arguments})


# The file of tenants


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The path of a file of tenants that only its owner can read."""
    path = tmp_path / "tenants.toml"
    path.touch(mode=0o600)
    return path


def private(path: Path, text: str) -> Path:
    """Write a file that only its owner can read, and return its path."""
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
    return path


async def test_a_file_of_tenants_makes_their_sessions(tmp_path: Path) -> None:
    """TOML and JSON both give a tenant's keys or token, base URL and rates."""
    async with Sandbox(verify_rate=0) as box:
        keys = box.credentials
        toml = f'''
            ["测试 & Co"]
            app_key = "{keys.app_key}"
            app_security = "{keys.app_security}"
            base_url = "{box.base_url}"
            ocr_rate = 5
            [other]
            access_token = "{SECRET}"
        '''
        json = f'''{{
            "测试 & Co": {{"app_key": "{keys.app_key}", "app_security": "{keys.app_security}",
                           "base_url": "{box.base_url}", "ocr_rate": 5}},
            "other": {{"access_token": "{SECRET}"}}
        }}'''
        for name, text in (("t.toml", toml), ("t.json", json), ("bom.json", "\ufeff" + json)):
            config = SessionConfig(ocr_rate=2, verify_rate=3)
            tenants = TenantCredentials.read(
                private(tmp_path / name, text), config=config, base_url="https://own.example"
            )
            assert list(tenants) == ["测试 & Co", "other"]
            assert ("other" in tenants, "third" in tenants, len(tenants)) == (True, False, 2)
            async with TenantSessions(tenants) as pool:
                async with pool.session("测试 & Co") as session:
                    assert (session.config.ocr_rate, session.config.verify_rate) == (5, 3)
                    assert await session.flow_invoices(codes=["B1"]) == {}
                async with pool.session("other") as session:
                    assert session.config == config
                    assert "https://own.example" in repr(session)
                with pytest.raises(ConfigError, match=r"'third'"):
                    await use(pool, "third")
            assert SECRET not in repr(tenants) + repr(vars(tenants))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f'app_key = "{SECRET}"', "'app_key'"),
        (f'[a]\napp_key = "{SECRET}"', "'a'.*app_security missing"),
        ("[a]", "'a'.*app_key, app_security missing"),
        (f'[a]\napp_key = "k"\napp_security = ["{SECRET}"]', "'a'.*app_security must"),
        (f'[a]\napp_key = "{SECRET}"\napp_security = " "', "'a'.*app_security must"),
        (f'[a]\naccess_token = "{SECRET}"\napp_key = "k"', "'a'.*either"),
        (f'[a]\naccess_token = "{SECRET}"\nbase_url = "ftp://x"', "'a'.*base_url"),
        ('[a]\naccess_token = "t"\nbase_url = 7', "'a'.*base_url"),
        (f'[a]\naccess_token = "t"\nocr_rate = "{SECRET}"', "'a'.*ocr_rate must"),
        ('[a]\naccess_token = "t"\nverify_rate = nan', "'a'.*verify_rate must"),
        (f'[a]\naccess_token = "t"\napp_secret = "{SECRET}"', "'a'.*no field 'app_secret'"),
        (f'[" "]\naccess_token = "{SECRET}"', "' '.*name"),
        (f'[a]\naccess_token = "{SECRET}\n', "no TOML.*line 2"),
        (f"[a]\naccess_token = {SECRET}", "no TOML.*line 2"),
    ],
)
def test_what_is_wrong_in_a_file(file: Path, text: str, said: str) -> None:
    """An error names the file, tenant and field; the value may be a secret and is not shown."""
    private(file, text)
    with pytest.raises(ConfigError, match=rf"tenants\.toml.*{said}") as caught:
        TenantCredentials.read(file)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.json", b'{"a": {"access_token": "s"}, "a": {"access_token": "s"}}'),
        ("t.json", b"[]"),
        ("t.json", b'{"a": '),
        ("t.json", b"[" * 100_000),
        ("t.toml", b"\xff\xfe"),
        ("t.yaml", b""),
        ("missing/t.toml", None),
    ],
)
def test_what_is_no_file_of_tenants(tmp_path: Path, name: str, content: bytes | None) -> None:
    """A file that cannot be read, is not TOML or JSON, or has a tenant twice is a `ConfigError` that names it."""
    if content is not None:
        private(tmp_path / name, "").write_bytes(content)
    with pytest.raises(ConfigError, match=name):
        TenantCredentials.read(tmp_path / name)


def test_a_file_that_others_can_read(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file that others can read is used, with a warning that names it; a private one causes none."""
    TenantCredentials.read(file)
    assert caplog.records == []
    file.chmod(0o644)
    TenantCredentials.read(file)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert str(file) in record.getMessage()
