"""`ekb doctor` on the account and on this machine: each fault is named once, and nothing else is blamed."""

from __future__ import annotations

import asyncio
import os
import time
from importlib import metadata
from pathlib import Path

import pytest

from ekb_async.sandbox import Fault, Sandbox
from tests.support.doctor import diagnosed

CORPORATION = "djg8LshfUkfM00"
STAFF_ID = f"{CORPORATION}:staff"
DAY = 86_400
KEYS = ("EKB_APP_KEY", "EKB_APP_SECURITY")


async def test_all_is_well() -> None:
    """Without a fault every check is made but those that were not asked for, and nothing is billed."""
    async with Sandbox() as box:
        found = await diagnosed(box=box)
        assert box.count("token") == 1
        assert not any(box.vendor.billed.values())
    assert found.status == 0, found.text
    assert found.is_ok
    # The sandbox has no TLS.
    assert found.named("skipped") == ["certificate", "staff", "ocr_call"]
    assert found.faults == found.named("warning") == []
    assert box.credentials.app_security not in found.text


async def test_all_is_well_with_every_option() -> None:
    """With a staff ID, a corporation and `--paid`, those are checked too."""
    async with Sandbox() as box:
        box.vendor.add_staff(id=STAFF_ID, name="张三")
        found = await diagnosed("--staff-id", STAFF_ID, "--corporation-id", CORPORATION, "--paid", box=box)
        assert box.vendor.billed["ocr"].total() == box.count("ocr") == 1
    assert found.status == 0, found.text
    assert found.named("skipped") == ["certificate"]
    assert "张三" in found.detail("staff")
    assert "one call was made" in found.detail("ocr_call")


class TestSettings:
    """Settings that no session can be made with: status 2, and nothing is sent."""

    async def test_no_keys(self) -> None:
        """Without keys the variables are named, and this machine is checked all the same."""
        found = await diagnosed(box=None)
        assert (found.status, found.faults) == (2, ["settings"])
        assert "EKB_APP_KEY" in found.detail("settings")
        assert found.named("ok") == ["state_directory", "extras"]

    @pytest.mark.parametrize(
        "base_url",
        [
            "ekuaibao",
            "https://",
            "http://ekb.example",
            "https://me:pass@ekb.example",
            "https://a..b",
            "https://xn--.com",
        ],
    )
    async def test_an_impossible_address(self, base_url: str) -> None:
        """An address that is none, or leads elsewhere by plain HTTP, is a wrong setting."""
        async with Sandbox() as box:
            found = await diagnosed(box=box, EKB_BASE_URL=base_url)
        assert (found.status, found.faults) == (2, ["settings"])
        assert "EKB_BASE_URL" in found.detail("settings")

    @pytest.mark.parametrize("value", [" {}", "{}\n", '"{}"', "'{}", "{}”"])
    @pytest.mark.parametrize("name", ["EKB_APP_KEY", "EKB_APP_SECURITY"])
    async def test_a_key_with_something_around_it(self, name: str, value: str) -> None:
        """A blank or a quotation mark around a key, as .env files have, is named without the key."""
        async with Sandbox() as box:
            keys = {"EKB_APP_KEY": box.credentials.app_key, "EKB_APP_SECURITY": box.credentials.app_security}
            found = await diagnosed(box=box, **{name: value.format(keys[name])})
            assert box.log == []
        assert (found.status, found.faults) == (2, ["settings"])
        assert name in found.detail("settings")
        assert keys[name] not in found.text


class TestPlatform:
    """The enterprise is on another platform."""

    async def test_told_by_the_token(self) -> None:
        """The corporation of the token is looked up, and the right address is in the advice."""
        async with Sandbox(platform_url="https://dd2.hosecloud.com/") as box:
            found = await diagnosed(box=box)
        assert (found.status, found.faults) == (2, ["platform"])
        assert "EKB_BASE_URL=https://dd2.hosecloud.com" in found.detail("platform")
        assert {"keys", "ocr_licence", "interface_licence"} <= set(found.named("skipped"))

    async def test_told_by_the_option(self) -> None:
        """With `--corporation-id` wrong keys are not blamed for a wrong platform, and are not sent there."""
        async with Sandbox(platform_url="https://dd2.hosecloud.com") as box:
            found = await diagnosed("--corporation-id", CORPORATION, box=box, EKB_APP_SECURITY="of another platform")
            assert box.count("token") == 0
        assert (found.status, found.faults) == (2, ["platform"])

    async def test_an_unknown_corporation(self) -> None:
        """A corporation that the vendor does not find leaves the platform unchecked; the keys name the right one."""
        async with Sandbox() as box:
            found = await diagnosed("--corporation-id", "another", box=box)
        assert found.faults == ["keys"]
        assert found.status == 2
        assert CORPORATION in found.detail("keys")
        assert "platform" in found.named("skipped")

    async def test_a_deployment_without_a_list_of_licences(self) -> None:
        """A token that no call can try is not blamed for it, and neither is the address."""
        async with Sandbox(faults=[Fault.answer(404, "Not Found", calls={"licences"})]) as box:
            found = await diagnosed(box=box, **with_token(token_of(box)))
        assert (found.status, found.faults) == (0, [])
        assert {"platform", "keys", "ocr_licence", "interface_licence"} <= set(found.named("skipped"))

    async def test_not_known(self) -> None:
        """A given token does not name its corporation, so the option is asked for."""
        async with Sandbox() as box:
            found = await diagnosed(box=box, **with_token(token_of(box)))
        assert (found.status, found.faults) == (0, [])
        assert "--corporation-id" in found.detail("platform")
        assert "keys" in found.named("ok")


class TestKeys:
    """Keys or a token that the vendor does not accept: status 3."""

    async def test_wrong_keys(self) -> None:
        """Wrong keys are named, without the secret."""
        async with Sandbox() as box:
            found = await diagnosed(box=box, EKB_APP_SECURITY="a-wrong-5ecret")
        assert (found.status, found.faults) == (3, ["keys"])
        assert "密钥无效" in found.detail("keys")
        assert "a-wrong-5ecret" not in found.text
        assert {"ocr_licence", "interface_licence", "staff"} <= set(found.named("skipped"))

    async def test_a_revoked_token(self) -> None:
        """A given token that was revoked is named, without the token."""
        async with Sandbox() as box:
            token = token_of(box)
            box.revoke_tokens()
            found = await diagnosed(box=box, **with_token(token))
        assert (found.status, found.faults) == (3, ["keys"])
        assert "EKB_ACCESS_TOKEN" in found.detail("keys")
        assert token not in found.text

    async def test_a_new_token_that_is_refused(self) -> None:
        """A token that was issued and is refused at once is not a fault of key and secret."""
        async with Sandbox(faults=[Fault.answer(401, "请先登录", calls="licences")]) as box:
            found = await diagnosed(box=box)
        assert (found.status, found.faults) == (3, ["keys"])
        assert "a token was issued, but is not accepted" in found.detail("keys")

    async def test_an_interface_that_is_not_allowed(self) -> None:
        """If only the list of licences is not allowed, the keys are right and the licences stay unknown."""
        async with Sandbox(faults=[Fault.answer(403, "不允许调用此接口", calls="licences")]) as box:
            found = await diagnosed(box=box)
        assert (found.status, found.faults) == (0, [])
        assert "keys" in found.named("ok")
        assert found.named("warning") == ["interface_licence"]
        assert "ocr_licence" in found.named("skipped")

    async def test_an_outage_of_one_interface(self) -> None:
        """A failing list of licences is one fault, and not one of the keys."""
        async with Sandbox(faults=[Fault.answer(500, "系统异常", calls="licences")]) as box:
            found = await diagnosed(box=box)
        assert (found.status, found.faults) == (1, ["interface_licence"])
        assert "keys" in found.named("ok")


class TestLicences:
    """The two licences and their ends."""

    @pytest.mark.parametrize(("code", "name"), [("110407", "ocr_licence"), ("219902", "interface_licence")])
    async def test_lapsed(self, code: str, name: str) -> None:
        """A licence that has ended is named with its code, and no call that needs it is made: status 3."""
        async with Sandbox() as box:
            box.vendor.add_staff(id=STAFF_ID, name="张三")
            box.vendor.set_licence(code, expires_at=time.time() - DAY)
            found = await diagnosed("--paid", "--staff-id", STAFF_ID, box=box)
            assert box.count("ocr") == 0
        assert (found.status, found.faults) == (3, [name])
        assert code in found.detail(name)
        assert "ocr_call" in found.named("skipped")

    @pytest.mark.parametrize(("code", "name"), [("110407", "ocr_licence"), ("219902", "interface_licence")])
    async def test_soon_to_end(self, code: str, name: str) -> None:
        """A licence that ends within 30 days is a warning, and all is well for now."""
        async with Sandbox() as box:
            box.vendor.set_licence(code, expires_at=time.time() + 29.1 * DAY)
            found = await diagnosed(box=box)
        assert (found.status, found.faults, found.named("warning")) == (0, [], [name])
        assert "ends within 30 days" in found.detail(name)

    async def test_by_the_vendors_clock(self) -> None:
        """Whether a licence has ended is decided by the vendor's clock."""
        async with Sandbox(clock_ahead=-2 * 3600) as box:
            box.vendor.set_licence("110407", expires_at=time.time() - 3600)
            found = await diagnosed(box=box)
        assert found.faults == ["clock"]
        assert found.named("warning") == ["ocr_licence"]

    async def test_not_bought(self) -> None:
        """A licence that the enterprise does not have is named: status 3."""
        none = Fault(kind="answer", carried_out=True, calls=frozenset({"licences"}), body=b'{"items": []}')
        async with Sandbox(faults=[none]) as box:
            found = await diagnosed(box=box)
        assert (found.status, found.faults) == (3, ["ocr_licence", "interface_licence"])
        assert "110407" in found.detail("ocr_licence")

    async def test_a_deployment_without_the_list(self) -> None:
        """A private deployment may have no list of licences, which is no fault."""
        async with Sandbox(faults=[Fault.answer(404, "Not Found", calls="licences")]) as box:
            found = await diagnosed(box=box)
        assert (found.status, found.faults) == (0, [])
        assert {"ocr_licence", "interface_licence"} <= set(found.named("skipped"))

    async def test_another_state(self) -> None:
        """A licence in a state that the vendor's pages do not describe is a warning."""
        async with Sandbox() as box:
            box.vendor.set_licence("110407", state="frozen")
            found = await diagnosed(box=box)
        assert found.named("warning") == ["ocr_licence"]
        assert "frozen" in found.detail("ocr_licence")


class TestStaff:
    """The staff ID of a verification: status 2 if it cannot be used."""

    async def test_unknown(self) -> None:
        """An unknown ID is named."""
        async with Sandbox(staff={STAFF_ID}) as box:
            found = await diagnosed("--staff-id", "corp:nobody", box=box)
        assert (found.status, found.faults) == (2, ["staff"])
        assert "corp:nobody" in found.detail("staff")

    async def test_inactive(self) -> None:
        """So is that of a person who is not active."""
        async with Sandbox() as box:
            box.vendor.add_staff(id=STAFF_ID, name="张三", active=False)
            found = await diagnosed("--staff-id", STAFF_ID, box=box)
        assert (found.status, found.faults) == (2, ["staff"])
        assert "active" in found.detail("staff")


class TestPaidCall:
    """`--paid` makes exactly one billed call."""

    @pytest.mark.parametrize(("status", "text"), [(400, "第三方出现问题请稍后再试"), (400, "识别失败")])
    async def test_nothing_recognised(self, status: int, text: str) -> None:
        """A provider that finds no invoice shows that the interface works, and is not asked again."""
        async with Sandbox(faults=[Fault.answer(status, text, calls="ocr", carried_out=True)]) as box:
            found = await diagnosed("--paid", box=box)
            assert box.count("ocr") == 1
        assert (found.status, found.faults) == (0, [])
        assert text in found.detail("ocr_call")

    async def test_not_switched_on(self) -> None:
        """Without the feature the call is refused: status 3."""
        async with Sandbox(permissions=set()) as box:
            found = await diagnosed("--paid", box=box)
        assert (found.status, found.faults) == (3, ["ocr_call"])
        assert "未开通功能" in found.detail("ocr_call")

    async def test_a_lost_answer(self) -> None:
        """A call whose answer is lost is not repeated, and the line says that it was made."""
        async with Sandbox(faults=[Fault.lost_answer(calls="ocr")]) as box:
            found = await diagnosed("--paid", box=box)
            assert box.vendor.billed["ocr"].total() == 1
        assert (found.status, found.faults) == (1, ["ocr_call"])
        assert "one call was made" in found.detail("ocr_call")


class TestStateDirectory:
    """The directory of shared pace and tokens: status 1 if it cannot be used."""

    async def test_not_writable(self, tmp_path: Path) -> None:
        """A place where nothing can be created is named, and the rest is checked."""
        file = tmp_path / "file"
        file.touch()
        async with Sandbox() as box:
            found = await diagnosed("--paid", box=box, EKB_STATE_DIR=str(file / "ekb"))
            assert box.count("ocr") == 0
        assert (found.status, found.faults) == (1, ["state_directory"])
        assert str(file) in found.detail("state_directory")
        assert "EKB_STATE_DIR" in found.detail("state_directory")
        assert "ocr_call" in found.named("skipped")

    @pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root can write everywhere")
    async def test_read_only(self, tmp_path: Path) -> None:
        """A directory without the permission to write is named."""
        await asyncio.to_thread(tmp_path.chmod, 0o500)
        async with Sandbox() as box:
            found = await diagnosed(box=box, EKB_STATE_DIR=str(tmp_path))
        assert (found.status, found.faults) == (1, ["state_directory"])

    @pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
    async def test_open_to_others(self, tmp_path: Path) -> None:
        """A directory that other users can write to is named."""
        await asyncio.to_thread(tmp_path.chmod, 0o777)
        async with Sandbox() as box:
            found = await diagnosed(box=box, EKB_STATE_DIR=str(tmp_path))
        assert (found.status, found.faults) == (1, ["state_directory"])
        assert "other users can write" in found.detail("state_directory")


async def test_extras_that_are_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Extras are listed by whether their packages are installed; a missing one is no fault."""
    version = metadata.version

    def without_xlsxwriter(package: str) -> str:
        if package.lower() == "xlsxwriter":
            raise metadata.PackageNotFoundError(package)
        return version(package)

    monkeypatch.setattr(metadata, "version", without_xlsxwriter)
    async with Sandbox() as box:
        found = await diagnosed(box=box)
    assert found.status == 0
    installed, absent = found.detail("extras").split("; not installed: ")
    assert "parquet" in installed
    assert absent.split() == ["xlsx"]


async def test_several_faults() -> None:
    """Independent faults are all named, and the worst one decides the status."""
    async with Sandbox(clock_ahead=3600) as box:
        found = await diagnosed(box=box, EKB_APP_SECURITY="wrong")
    assert (found.status, found.faults) == (3, ["keys", "clock"])


def token_of(box: Sandbox) -> str:
    """Return an access token that the sandbox accepts."""
    credentials = box.credentials
    return box.vendor.tokens.log_in(credentials.app_key, credentials.app_security, time.time()).access


def with_token(token: str) -> dict[str, str]:
    """Return the variables of a given token in place of keys."""
    return {**dict.fromkeys(KEYS, ""), "EKB_ACCESS_TOKEN": token}
