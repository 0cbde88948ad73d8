"""The commands outside of a run in both languages: help, messages, questions, log lines and errors."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from pathlib import Path

import pytest
import typer

from ekb_async.backlog import Backlog
from ekb_async.cli.demo import files
from ekb_async.cli.language import use_language
from ekb_async.sandbox import Fault, Sandbox
from tests.support.backlogs import manifest
from tests.support.command import COMMAND, PNG, Finished, ekb, environment
from tests.support.command_tree import command_tree
from tests.support.invoice_folders import as_pdf
from tests.support.read_rows import OFD, add_rows, written_row
from tests.support.terminals import all_of

FIRST = "25999900000000000017"
_ENGLISH = re.compile(r"[A-Za-z]{2,},? [a-z]{2,} [a-z]{2,}")
_CHINESE = re.compile("[\u4e00-\u9fff]+")
_COMMAND_LINES = re.compile(r"ekb completion \w+|ekb doctor --capture|ekb backlog \w+")
_NAMES = ("易快报", "合思")


def assert_chinese(text: str) -> None:
    """Assert that a text has Chinese, and no sentence in English."""
    assert _CHINESE.search(text), text
    assert _ENGLISH.findall(_COMMAND_LINES.sub("", " ".join(text.split()))) == [], text


async def zh(*arguments: str | Path, box: Sandbox | None = None) -> Finished:
    """Run the command in Chinese."""
    return await ekb(*arguments, box=box, EKB_LANG="zh")


ALL = [names for names, _ in command_tree()]


@pytest.fixture
async def db(tmp_path: Path) -> Path:
    """A backlog with two files of an invoice, and a file without one."""
    place = tmp_path / "b.sqlite"
    says = {"date": "2025-01-02", "total": "272.50"}
    async with Backlog.open(place) as backlog:
        await add_rows(
            backlog,
            tmp_path,
            written_row(tmp_path, "a.pdf", FIRST, printed=says),
            written_row(tmp_path, "b.ofd", FIRST, form=OFD, printed=says),
        )
        (tmp_path / "bad.png").write_bytes(b"no image")
        await backlog.add_manifest(manifest(tmp_path, "ocr,bad.png,,,,bad"))
    return place


@pytest.mark.parametrize("names", ALL, ids=" ".join)
async def test_help_is_in_one_language(names: tuple[str, ...]) -> None:
    """The help of each command has no sentence of the other language, and nothing of it is cut off."""
    chinese, english = await zh(*names, "--help"), await ekb(*names, "--help")
    assert chinese.status == english.status == 0
    text = chinese.output.decode()
    assert_chinese(text.replace("│", " "))
    assert "…" not in text
    assert set(_CHINESE.findall(english.output.decode())) <= set(_NAMES)


@pytest.mark.parametrize("columns", ["60", "100"])
async def test_lines_of_chinese_are_filled(columns: str) -> None:
    """A line of Chinese does not end early at a blank, and begins with no closing mark."""
    shown = await ekb("--help", COLUMNS=columns, EKB_LANG="zh")
    lines = [line.strip() for line in shown.output.decode().splitlines()]
    first = next(number for number, line in enumerate(lines) if line.startswith("退出状态"))
    assert not lines[first].endswith("3")
    assert not any(line.startswith(tuple("，。；：、）”")) for line in lines)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("backlog", "list"), "缺少参数 'DB'。"),
        (("backlog", "list", "b.sqlite", "--limit", "x"), "'--limit' 的值无效：'x' 不是整数。"),
        (("backlog", "list", "b.sqlite", "--limit", "-1"), "'--limit' 的值无效：-1 超出范围 x>=0。"),
        (("backlog", "list", "b.sqlite", "--state", "x"), "不是 'pending', 'running', 'done', 'failed' 之一。"),
        (("backlog", "lst"), "没有命令 'lst'。"),
        (("backlog", "list", "b.sqlite", "--nothing"), "没有选项 --nothing"),
        (("verify", "a.png"), "缺少选项 '--staff-id'。"),
        (("sandbox", "--latency", "x"), "'--latency' 的值无效：'x' 不是数字。"),
        (("--lang", "fr", "urls", "x"), "只能是 en, zh 之一"),
        (("ocr", "nothing.png"), "nothing.png：文件不存在"),
        (("ocr", "."), ".：这不是文件"),
        (("urls", ""), "发票ID 为空"),
        (
            ("backlog", "list", "nothing.sqlite"),
            "任务库不存在；可用以下命令创建：ekb backlog add nothing.sqlite SOURCE",
        ),
        (("backlog", "add", "b.sqlite"), "请给出文件夹、压缩包、文件或清单"),
        (("backlog", "add", "b.sqlite", "nothing"), "nothing：文件或文件夹不存在"),
        (("backlog", "list", "http://x/y"), "DB 应为文件，或以 postgresql:// 开头的 DSN"),
        (("sandbox", "--fault", "lost=2"), "--fault lost 需要大于 0%、不超过 100% 的比例"),
    ],
)
async def test_errors_of_usage(arguments: tuple[str, ...], said: str) -> None:
    """Wrong usage is explained in Chinese, by the command and by the library of command lines: status 2."""
    refused = await zh(*arguments)
    text = " ".join(refused.messages.replace("│", " ").split())
    assert refused.status == 2
    assert said in text
    assert_chinese(text)


async def test_rows_in_chinese(db: Path, tmp_path: Path) -> None:
    """Adding, listing, copying and removing speak Chinese; states and kinds have Chinese names."""
    (tmp_path / "in").mkdir()
    content = as_pdf(1)
    for name in ("c.pdf", "d.pdf"):
        (tmp_path / "in" / name).write_bytes(content)
    added = await zh("backlog", "add", db, tmp_path / "in", "--staff-id", "工号：1001", "--no-read")
    assert added.messages.splitlines()[-3:] == [
        f"{tmp_path / 'in'}：已添加 2 行",
        "  需要 1 次调用",
        "  1 行与其他行的文件或 ID 相同，共用其调用",
    ]
    async with Sandbox(ocr_rate=0) as box:
        await ekb("backlog", "run", db, "--ocr-rate", "1000", "--max-calls", "1", box=box)
    listed = (await zh("backlog", "list", db)).output.decode()
    lines = listed.splitlines()
    assert lines[:5] == [
        "      1 待处理 识别并验真 a.pdf",
        f"        {FIRST}   2025-01-02        272.50",
        "      2 待处理 识别并验真 b.ofd",
        f"        {FIRST}   2025-01-02        272.50",
        "        与第 1 行共用调用：同一张发票的另一个文件",
    ]
    assert lines[-1] == "5 行"
    assert (await zh("backlog", "list", db, "--limit", "1")).output.decode().splitlines()[-1] == "共 5 行，显示 1 行"
    copied = await zh("backlog", "copy", db, tmp_path / "c.sqlite")
    assert copied.messages.startswith(f"{tmp_path / 'c.sqlite'}：已添加 5 行\n  新增 3 次调用\n")
    asked = await zh("backlog", "remove", db, "4", "5")
    assert (asked.status, "将移除" in asked.messages) == (2, True)
    assert "标准输入不是终端，无法询问：请加 --yes" in asked.messages
    removed = await zh("backlog", "remove", db, "2", "--yes")
    assert removed.messages == "已移除 1 行\n"
    assert_chinese(listed + added.messages.replace(str(tmp_path), "") + copied.messages + asked.messages)


async def test_a_failed_row_says_why_and_what_to_do(db: Path) -> None:
    """The reason has neither status nor interface; what to do speaks of the file, and not of a URL."""
    async with Sandbox(ocr_rate=0, verify_rate=0) as box:
        await ekb("backlog", "run", db, "--ocr-rate", "1000", "--verify-rate", "1000", box=box)
    said = (await ekb("backlog", "list", db, "--state", "failed")).output.decode().splitlines()
    assert said[0] == "      3 failed  ocr bad.png"
    assert said[1].startswith("        failed: Trouble at the OCR provider: 第三方")
    assert said[2].strip() == "Check that the file opens and is an image or a PDF; otherwise try later."
    chinese = (await zh("backlog", "list", db, "--state", "failed")).output.decode()
    assert "openapi" not in chinese
    assert "URL" not in chinese
    assert_chinese(chinese)


async def test_hints_fit_what_was_given(tmp_path: Path) -> None:
    """The hint is about a file if a file was given, and about the URL otherwise; errors for programs have the same."""
    (tmp_path / "a.png").write_bytes(PNG)
    faults = [Fault.answer(400, "识别失败", calls="ocr")]
    async with Sandbox(ocr_rate=0, faults=faults) as box:
        of_file = await ekb("ocr", tmp_path / "a.png", box=box)
        of_url = await ekb("ocr", "https://f.example/a.png", box=box)
        chinese = await zh("ocr", tmp_path / "a.png", box=box)
    assert of_file.lines[0]["error"]["hint"] == "Check that the file opens and shows an invoice."
    assert "     Check that the file opens and shows an invoice.\n" in of_file.messages
    assert "file URL" in of_url.lines[0]["error"]["hint"]
    error = chinese.lines[0]["error"]
    assert (error["class"], error["message"]) == ("RecognitionError", "识别失败")
    assert "文件" in error["hint"]
    assert_chinese(error["hint"] + chinese.messages.replace(str(tmp_path), ""))


@pytest.mark.parametrize("arguments", [("-v", "urls", "c:1:1"), ("urls", "c:1:1", "-v"), ("urls", "-v", "c:1:1")])
async def test_the_log_is_written_with_v_anywhere(arguments: tuple[str, ...]) -> None:
    """`-v` before or after the name of the command logs each event once; without it only warnings are written."""
    async with Sandbox() as box:
        said = (await ekb(*arguments, box=box)).messages
        silent = (await ekb("urls", "c:1:1", box=box)).messages
        chinese = (await zh(*arguments, box=box)).messages
    assert len(re.findall(r"INFO    ekb_async\.tokens a new access token was issued for 7200 s", said)) == 1
    assert "ekb_async" not in silent
    assert re.search(r"\d 信息 ekb_async\.tokens ", chinese)


async def test_v_in_a_group() -> None:
    """`-v` between the names of a group and of its command counts too."""
    assert (await ekb("backlog", "-v", "list", "nothing.sqlite")).status == 2
    assert "-v" not in (await ekb("backlog", "list", "nothing.sqlite", "-v")).messages


async def test_a_wrong_language_in_the_environment() -> None:
    """An unknown EKB_LANG is an error: status 2."""
    refused = await ekb("urls", "x", EKB_LANG="fr")
    assert (refused.status, refused.messages) == (2, "ekb: EKB_LANG must be one of en, zh\n")


@pytest.mark.process
@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a pseudo-terminal")
@pytest.mark.parametrize(("answer", "status", "left"), [(b"y\n", 0, 0), (b"\n", 0, 1), (b"no\n", 0, 1), (None, 130, 1)])
async def test_the_question_before_removing(db: Path, answer: bytes | None, status: int, left: int) -> None:
    """Only `y` removes; Ctrl-C ends the command at once, although it waits for an answer."""
    screen, terminal = os.openpty()
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *("backlog", "remove", str(db), "3"),
        env=environment(None, EKB_LANG="zh", PYTHONUTF8="1"),
        stdin=terminal,
        stdout=terminal,
        stderr=asyncio.subprocess.PIPE,
    )
    os.close(terminal)
    assert process.stderr is not None
    said = await process.stderr.readuntil("确定移除吗？[y/N]：".encode())
    if answer is None:
        process.send_signal(signal.SIGINT)
    else:
        os.write(screen, answer)
    rest = await process.stderr.read()
    assert await process.wait() == status
    await asyncio.to_thread(all_of, screen)
    assert_chinese((said + rest).decode().replace("[y/N]", ""))
    async with Backlog.open(db) as backlog:
        assert await backlog.count(kind="ocr") == left


async def test_names_and_amounts_are_shown_as_they_are(tmp_path: Path) -> None:
    """Of names only what may be a secret is masked: the signature of a URL."""
    place = tmp_path / "b.sqlite"
    names = ("（Ａ）&amp;security：1.pdf", "https://f.example/a.pdf?name=x.pdf&Signature=s3cr3tS3cr3t", "sign=1.pdf")
    rows = [written_row(tmp_path, f"{number}.pdf")._replace(file=name) for number, name in enumerate(names)]
    async with Backlog.open(place) as backlog:
        await add_rows(backlog, tmp_path, *rows)
    shown = (await ekb("backlog", "list", place)).output.decode().splitlines()
    assert shown[0].endswith("verify （Ａ）&amp;security：1.pdf")
    assert shown[1].endswith("verify https://f.example/a.pdf?name=x.pdf")
    assert shown[2].endswith("verify sign=1.pdf")


@pytest.mark.parametrize("given", ["王小明", "1001", "s1", "code:", "姓名:王小明", "工号：", "a b:c"])
async def test_what_names_no_person(db: Path, tmp_path: Path, given: str) -> None:
    """A --staff-id that can be nobody's is refused before anything is added or sent, with the forms that there are."""
    (tmp_path / "x.png").write_bytes(PNG)
    async with Sandbox() as box:
        for arguments in (("verify",), ("backlog", "add", db)):
            for lang in ("en", "zh"):
                refused = await ekb(*arguments, tmp_path / "x.png", "--staff-id", given, box=box, EKB_LANG=lang)
                assert refused.status == 2
                assert "工号" in refused.messages if lang == "zh" else re.search("code:|employee", refused.messages)
        assert box.log == []


@pytest.mark.parametrize("given", ["code:1001", "工号：1001", "邮箱:Zhang@x.cn", "zhang@x.cn", "手机：138 0013 8000"])
async def test_verify_looks_up_the_person(tmp_path: Path, given: str) -> None:
    """`ekb verify` takes a person by number, address or phone, and asks for the ID once."""
    (tmp_path / "x.png").write_bytes(PNG)
    async with Sandbox(verify_rate=0, staff=set()) as box:
        box.vendor.add_staff(id="corp:z", name="张三", code="1001", email="zhang@x.cn", cellphone="13800138000")
        done = await ekb("verify", tmp_path / "x.png", "--staff-id", given, box=box)
        assert (done.status, box.count("staff")) == (0, 1)
        assert '"staffId":"corp:z"' in next(entry.body for entry in box.log if entry.call == "verify")


async def test_a_person_that_nobody_is_in_chinese(tmp_path: Path) -> None:
    """How the person was looked up is said in one language."""
    (tmp_path / "x.png").write_bytes(PNG)
    async with Sandbox(staff=set()) as box:
        for given, said in (("手机：13800138000", "按此手机号查不到"), ("工号：1001", "按此工号查不到")):
            refused = await ekb("verify", tmp_path / "x.png", "--staff-id", given, box=box, EKB_LANG="zh")
            assert said in refused.messages
            assert_chinese(refused.messages)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Input should be a valid integer, unable to parse string as an integer", "应为整数"),
        ("Input should be a valid number, unable to parse string as a number", "应为数字"),
        ("Input should be greater than or equal to 0", "不能小于 0"),
        ("Input should be less than or equal to 65535", "不能大于 65535"),
        ("Value error, 'x' is not one of 'bash', 'zsh'.", "'x' 不是 'bash', 'zsh' 之一。"),
    ],
)
async def test_wrong_values_in_the_words_of_later_libraries(
    monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    """Typer 0.29 has other words for wrong values."""
    monkeypatch.setattr(typer.BadParameter, "format_message", lambda _: f"Invalid value for '--lang': {text}")
    refused = await ekb("urls", "x", "--lang", "fr", EKB_LANG="zh")
    assert f"'--lang' 的值无效：{said}" in " ".join(refused.messages.replace("│", " ").split())


@pytest.mark.parametrize("note", ["Made by `ekb demo`. An older text.", "由 `ekb demo` 生成。旧的说明。", "zh", "en"])
def test_the_demo_recognises_its_directory(tmp_path: Path, note: str) -> None:
    """A directory of the demo is used again, whatever language and version made it; the note is in the language now."""
    use_language("zh" if note == "zh" else "en")
    if note in {"zh", "en"}:
        files.make_directory(tmp_path)
    else:
        (tmp_path / "README.txt").write_text(note, encoding="utf-8")
    use_language("zh")
    files.make_directory(tmp_path)
    text = (tmp_path / "README.txt").read_text(encoding="utf-8")
    assert text.startswith("由 `ekb demo` 生成。")
    use_language("en")
    files.make_directory(tmp_path)
    assert (tmp_path / "README.txt").read_text(encoding="utf-8").startswith("Made by `ekb demo`.")


@pytest.mark.process
@pytest.mark.slow
async def test_the_demo_in_chinese(tmp_path: Path) -> None:
    """The demo, its table, its exports and its page are in Chinese."""
    done = await zh("demo", "--directory", tmp_path / "demo")
    text = done.output.decode()
    assert done.status == 0
    for expected in ("火车票", "1,272.00", "识别失败", "示例", "用自己的账号和发票文件夹继续："):
        assert expected in text + (tmp_path / "demo" / "README.txt").read_text(encoding="utf-8")
    assert_chinese(text.replace(str(tmp_path), ""))
    assert "种类" in (tmp_path / "demo" / "results.csv").read_text(encoding="utf-8-sig").splitlines()[0]
    assert 'lang="zh' in (tmp_path / "demo" / "report.html").read_text(encoding="utf-8")
