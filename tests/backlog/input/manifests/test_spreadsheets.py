"""Numbers that a spreadsheet has changed are refused, or get back the zeros that they must have lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ekb_async import ManifestError
from ekb_async.backlog import AddReport, Backlog
from ekb_async.backlog.input.manifests.spreadsheets import restored
from ekb_async.backlog.input.rows.fields import InvoiceFields, WrongFieldError
from tests.support.backlogs import all_tasks

HEADER = "类型,发票ID,发票代码,发票号码,开票日期,金额,校验码,编号\n"


@pytest.mark.parametrize(
    ("row", "column", "reason"),
    [
        ("四要素验真,,,2.43E+19,20240506,1,,", "发票号码", "2.43E+19 is a number that a spreadsheet has shortened"),
        ("四要素验真,,,2.43119999999e+19,20240506,1,,", "发票号码", "a spreadsheet has shortened"),
        ("四要素验真,,4.4E+10,00000017,20240506,1,,", "发票代码", "a spreadsheet has shortened"),
        ("四要素验真,,044002400111,00000017,20240506,1,6.8E+19,", "校验码", "a spreadsheet has shortened"),
        ("链接,2.43E+19,,,,,,", "发票ID", "a spreadsheet has shortened"),
        ("链接,c:1:2,,,,,,2E+15", "编号", "a spreadsheet has shortened"),
        ("四要素验真,,,24312000000123800000,20240506,1,,", "发票号码", "has replaced the last digits"),
        ("四要素验真,,044002400111,00000017,20240506,1,68712345678901200000,", "校验码", "replaced the last digits"),
        ("四要素验真,,,17,20240506,1,,", "发票号码", "17 has fewer than 8 digits; without a code"),
        ("四要素验真,,,12345678,20240506,1,,", "发票号码", "12345678 has 8 digits; without a code"),
        ("四要素验真,,,2431200000012388017,20240506,1,,", "发票号码", "has 19 digits; without a code"),
        ("四要素验真,,,243120000001238801765,20240506,1,,", "发票号码", "has 21 digits; without a code"),
        ("四要素验真,,044002400111,000000017,20240506,1,,", "发票号码", "000000017 has 9 digits; with a code"),
        ("四要素验真,,44002400199,00000017,20240506,1,,", "发票代码", "44002400199 has 11 digits"),
        ("四要素验真,,440024001,00000017,20240506,1,,", "发票代码", "440024001 has 9 digits"),
    ],
)
async def test_a_changed_number_is_refused(tmp_path: Path, row: str, column: str, reason: str) -> None:
    """The error has file, line and column, and says what to do in the spreadsheet; nothing is added."""
    (tmp_path / "m.csv").write_text(f"{HEADER}链接,c:1:1,,,,,,\n{row}\n", encoding="utf-8")
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        with pytest.raises(ManifestError) as caught:
            await backlog.add_manifest(tmp_path / "m.csv")
        assert await all_tasks(backlog) == []
    (problem,) = caught.value.problems
    assert problem[:3] == (str(tmp_path / "m.csv"), 3, column)
    assert reason in problem.reason
    assert problem.reason.endswith("format the column as text in the spreadsheet, and enter the number again")


async def test_zeros_that_must_have_been_lost(tmp_path: Path) -> None:
    """Leading zeros that must have been lost are no difference between two calls; other values are kept."""
    rows = (
        "四要素验真,,044002400111,00000017,20240506,1e2,,1.2E+5\n"
        "四要素验真,,44002400111,17,20240506,100,,\n"
        "四要素验真,,4403174130,17,20240506,100,,\n"
        "四要素验真,,,24312000000123880000,20240506,100,,\n"
    )
    (tmp_path / "m.csv").write_text(HEADER + rows, encoding="utf-8")
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        assert await backlog.add_manifest(tmp_path / "m.csv") == AddReport(added=3, duplicates=1)
        found = await all_tasks(backlog)
    fields = [row.fields or {} for row in found]
    assert [(each["code"], each["number"]) for each in fields] == [
        ("044002400111", "00000017"),
        ("044002400111", "00000017"),
        ("4403174130", "00000017"),
        ("", "24312000000123880000"),
    ]
    assert found[0].ref == "1.2E+5"


async def test_numbers_kept_as_texts(tmp_path: Path) -> None:
    """What people write so that a spreadsheet leaves a number alone is no part of it."""
    rows = (
        "四要素验真,,044002400111,00000017,20240506,100,,\n"
        '四要素验真,,="044002400111",="00000017",20240506,100,,\n'
        "四要素验真,,'044002400111,'00000017,20240506,100,,\n"
    )
    (tmp_path / "m.csv").write_text(HEADER + rows, encoding="utf-8")
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        assert await backlog.add_manifest(tmp_path / "m.csv") == AddReport(added=1, duplicates=2)


@given(
    st.integers(0, 10**8 - 1), st.sampled_from(["04", "05", "06", "07", "11", "12", "13"]), st.integers(0, 10**8 - 1)
)
def test_what_a_spreadsheet_drops_comes_back(middle: int, last: str, number: int) -> None:
    """Codes of twelve digits that begin with one zero, and numbers, come back as they were; a number of 0 too."""
    code = f"01{middle:08}{last}"
    whole = InvoiceFields(code, f"{number:08}", "20240506")
    assert restored(whole) == whole
    assert restored(whole._replace(code=code.lstrip("0"), number=str(number))) == whole


@given(st.text("0123456789", max_size=21), st.text("0123456789", max_size=21))
def test_restoring_twice_changes_nothing(code: str, number: str) -> None:
    """A restored value is not changed again, and keeps its digits."""
    try:
        found = restored(InvoiceFields(code, number, "20240506"))
    except WrongFieldError:
        assume(False)
    assert restored(found) == found
    assert (found.code.endswith(code), found.number.endswith(number)) == (True, True)
