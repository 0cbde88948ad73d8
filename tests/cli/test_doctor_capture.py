"""`ekb doctor --capture`: the bundle of its calls, and what the command finds when the bundle is replayed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ekb_async.client.capture.bundle import read_bundle
from ekb_async.sandbox import Fault, Replay, Sandbox
from tests.support.captures import text_of
from tests.support.command import ekb
from tests.support.doctor import Diagnosis, diagnosed
from tests.support.personal import check_nothing_is_left

STAFF_ID = "djg8LshfUkfM00:ID01sX9kq"
DAY = 86_400


def nothing(_: Sandbox) -> None:
    """Leave the sandbox as it is."""


def expired(box: Sandbox) -> None:
    box.vendor.set_licence("110407", expires_at=time.time() - DAY)


def soon_expired(box: Sandbox) -> None:
    box.vendor.set_licence("219902", expires_at=time.time() + 3 * DAY)


def elsewhere(box: Sandbox) -> None:
    box.vendor.rules.platform_url = "https://dd2.hosecloud.com/"


def refused(box: Sandbox) -> None:
    box.vendor.rules.app_security = "another one"


def no_list(box: Sandbox) -> None:
    box.faults.append(Fault.answer(403, "不允许调用此接口", calls="licences"))


def busy(box: Sandbox) -> None:
    box.faults.append(Fault.gateway_page(502, calls="licences"))


def broken(box: Sandbox) -> None:
    box.faults.append(Fault.reset(calls="licences"))


def comparable(found: Diagnosis) -> dict[str, tuple[str, str]]:
    """Return the state and the advice of each check; a detail may name addresses, masked IDs and times."""
    return {name: (check["state"], check["advice"]) for name, check in found.checks.items()}


@pytest.mark.parametrize("change", [nothing, expired, soon_expired, elsewhere, refused, no_list, busy, broken])
async def test_a_replayed_bundle_has_the_same_findings(tmp_path: Path, change: Callable[[Sandbox], None]) -> None:
    """The findings on the replay of a bundle are those with which it was captured, and no secret is in it."""
    async with Sandbox() as box:
        box.vendor.add_staff(id=STAFF_ID, name="张无忌")
        keys = box.credentials
        change(box)
        variables = {"EKB_APP_SECURITY": keys.app_security}
        before = await diagnosed("--capture", str(tmp_path / "bundle"), "--staff-id", STAFF_ID, box=box, **variables)
    assert "exchange" in before.text
    text = text_of(tmp_path / "bundle")
    assert keys.app_security not in text
    check_nothing_is_left(text)
    about, recorded = read_bundle(tmp_path / "bundle")
    assert about.exchanges == len(recorded) > 0
    staff_ids = [each.body.split('"')[-2] for each in recorded if each.body and "conditionIds" in each.body]
    async with Replay(tmp_path / "bundle") as box:
        after = await diagnosed("--staff-id", *(staff_ids or ["unknown"]), box=box)
    assert comparable(after) == comparable(before)
    assert after.status == before.status


@pytest.mark.parametrize("made", ["file", "below a file", "bundle", "folder"])
async def test_a_directory_in_use_is_a_wrong_argument(tmp_path: Path, made: str) -> None:
    """Nothing is asked of the vendor, and nothing is written, if the directory has something in it."""
    target = tmp_path / "bundle"
    async with Sandbox() as box:
        if made == "bundle":
            await ekb("doctor", "--capture", target, box=box)
        elif made == "folder":
            target.mkdir()
            (target / "thesis.txt").write_text("x")
        else:
            target.write_text("x")
            target = target / "bundle" if made == "below a file" else target
        number = len(box.log)
        ended = await ekb("doctor", "--capture", target, box=box)
        assert len(box.log) == number
    assert ended.status == 2
    assert str(target) in ended.messages
