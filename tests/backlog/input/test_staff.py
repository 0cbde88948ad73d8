"""People are named by ID, e-mail address, phone number, or their number in the enterprise; each in one spelling."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ekb_async import ConfigError
from ekb_async.backlog.input.rows.staff import StaffReference, parse_staff, staff_reference
from tests.support.manifests import problems_in, rows_in, written

URL = "https://files.example/a.png"


@pytest.mark.parametrize(
    ("heading", "value", "stored"),
    [
        ("员工ID", " bwa3:n8s ", "bwa3:n8s"),
        ("staff_id", "Zhang.San@Example.CN", "email:zhang.san@example.cn"),
        ("staff_id", "phone:138 0013 8000", "phone:13800138000"),
        ("邮箱", " Zhang.San@Example.CN ", "email:zhang.san@example.cn"),
        ("E-Mail", "z＠x.cn", "email:z@x.cn"),
        ("手机号", "+86 138-0013-8000", "phone:13800138000"),
        ("Mobile", "＋８６１３８００１３８０００", "phone:13800138000"),
        ("phone", "+852 2123 4567", "phone:85221234567"),
        ("工号", "E-0017", "code:E-0017"),
        ("staff_id", "工号：E-0017", "code:E-0017"),
        ("员工ID", "手机:13800138000", "phone:13800138000"),
        ("员工编号", "007", "code:007"),
        ("employee number", "1E05", "code:1E05"),
    ],
)
def test_each_column_of_people(tmp_path: Path, heading: str, value: str, stored: str) -> None:
    """A person is stored in one form, in whichever column."""
    (row,) = rows_in(written(tmp_path / "m.csv", f"kind,file,{heading}\nverify,{URL},{value}\n"))
    assert row.staff_id == stored


@pytest.mark.parametrize(
    ("heading", "value", "reason"),
    [
        ("邮箱", "zhang", "this is no e-mail address"),
        ("邮箱", "a@b@c", "this is no e-mail address"),
        ("邮箱", "a b@c", "this is no e-mail address"),
        ("staff_id", "@x.cn", "this is no e-mail address"),
        ("手机", "1234", "this is no phone number: 5 to 20 digits"),
        ("手机", "1" * 21, "this is no phone number"),
        ("手机", "13800138000.0", "this is no phone number"),
        ("手机", "13800138000;13900139000", "this is no phone number"),
        ("手机", "1.38E+10", "1.38E+10 is a number that a spreadsheet has shortened"),
        ("工号", "2E+05", "2E+05 is a number that a spreadsheet has shortened"),
        ("工号", "x" * 65, "this is no number of an employee"),
        ("staff_id", "王小明", "this is no ID of a person"),
        ("staff_id", "工号：", "this is no number of an employee"),
    ],
)
def test_what_names_nobody(tmp_path: Path, heading: str, value: str, reason: str) -> None:
    """A value that cannot be what its column says is reported with line and column."""
    (problem,) = problems_in(written(tmp_path / "m.csv", f"kind,file,{heading}\nverify,{URL},{value}\n"))
    assert (problem.line, problem.column) == (2, heading)
    assert problem.reason.startswith(reason)


def test_a_person_is_named_once(tmp_path: Path) -> None:
    """Two values for one person are refused, since they may be two people; an empty one is none."""
    head = "kind,file,邮箱,工号,staff_id\n"
    (problem,) = problems_in(written(tmp_path / "m.csv", f"{head}verify,{URL},a@b.c,7,\n"))
    assert problem[1:] == (2, "工号", "a row names its person once, not by 邮箱 and 工号")
    assert [row.staff_id for row in rows_in(written(tmp_path / "m.csv", f"{head}verify,{URL}, ,7, \n"))] == ["code:7"]
    (problem,) = problems_in(written(tmp_path / "m.csv", f"{head}verify,{URL}, ,,\n"))
    assert problem.column == "staff_id"


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("bwa3:n8s", "bwa3:n8s"),
        ("", ""),
        ("A@b.C", "email:a@b.c"),
        ("email:A@b.C", "email:a@b.c"),
        ("phone:+86 13800138000", "phone:13800138000"),
        ("code: 007 ", "code:007"),
        ("工号:1001", "code:1001"),
        ("工号：1001", "code:1001"),
        ("员工编号：007", "code:007"),
        ("手机: 138 0013 8000", "phone:13800138000"),
        ("邮箱：A@b.C", "email:a@b.c"),
        ("Code:7", "code:7"),
        ("bwa3：n8s", "bwa3:n8s"),
    ],
)
def test_a_person_as_one_text(text: str, stored: str) -> None:
    """One text names a person in any of the ways, and the stored form is not changed again."""
    assert staff_reference(text) == stored
    assert staff_reference(stored) == stored


@pytest.mark.parametrize(
    "text", ["email:zhang", "phone:abc", "code:", "a@b\n", "x\0y", "email:", "工号：", "王小明", "姓名:王"]
)
def test_a_text_that_names_nobody(text: str) -> None:
    """A wrong text is refused."""
    with pytest.raises(ConfigError):
        staff_reference(f"{text}\0" if text == "a@b\n" else text)


def test_how_a_stored_person_is_named() -> None:
    """A stored text says in which way it names its person; an ID is not looked up."""
    assert parse_staff("email:a@b.c") == StaffReference("email", "a@b.c") == ("email", "a@b.c")
    assert parse_staff("code:a:b") == ("code", "a:b")
    assert parse_staff("bwa3:n8s") is parse_staff("email") is parse_staff("") is None


@given(st.integers(10**10, 10**11 - 1), st.sampled_from(["", "+86", "+86 ", "+86-"]), st.sampled_from(["", " ", "-"]))
def test_a_phone_number_in_any_spelling(number: int, country: str, between: str) -> None:
    """Spellings of one number are stored alike."""
    digits = str(number)
    assert staff_reference(f"phone:{country}{between.join((digits[:3], digits[3:7], digits[7:]))}") == f"phone:{digits}"
