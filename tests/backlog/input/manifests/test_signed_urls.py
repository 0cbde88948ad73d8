"""A file under two signatures is one call, two files are two calls, and no secret of a URL is stored."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ekb_async import AppCredentials, ConfigError, EkbSession
from ekb_async.backlog import Backlog
from ekb_async.backlog.input.manifest import signed_url
from ekb_async.redaction.signed_urls import without_signature
from ekb_async.sandbox import Sandbox
from tests.support.backlogs import all_tasks, manifest, session
from tests.support.fixed_answer import FixedAnswer

HEX = "9f86d081884c7d659a2feaa0c55ad015"
HEX_2 = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"

SIGNED_TWICE = {
    "Aliyun OSS, AWS S3 2": (
        "?OSSAccessKeyId=aaaa&Expires=1700000000&Signature=bbbb%3D&security-token=cccc",
        "?AWSAccessKeyId=aaaa&Expires=1700003600&Signature=dddd%3D",
    ),
    "AWS S3 4, Aliyun OSS 4": (
        "?X-Amz-Algorithm=AWS4&X-Amz-Credential=aaaa%2F1&X-Amz-Date=20240101T000000Z&X-Amz-Signature=bbbb",
        "?x-oss-credential=cccc%2F1&x-oss-expires=60&x-oss-signature=dddd",
    ),
    "Huawei OBS": (
        "?AccessKeyId=aaaa&Expires=1700000000&Signature=bbbb%3D&x-obs-security-token=cccc",
        "?AccessKeyId=aaaa&Expires=1700003600&Signature=dddd%3D",
    ),
    "Tencent COS": (
        f"?q-sign-algorithm=sha1&q-ak=aaaa&q-sign-time=1700000000%3B1700003600&q-signature={HEX}",
        f"?q-sign-algorithm=sha1&q-ak=cccc&q-key-time=1&q-signature={HEX_2}&x-cos-security-token=dddd",
    ),
    "Qiniu": ("?e=1700000000&token=Ak1:c2lnbmF0dXJlMQ=", "?e=1700003600&token=Ak1:c2lnbmF0dXJlMg="),
    "Azure": (
        "?sv=2022-11-02&se=2024-01-01T00%3A00%3A00Z&sr=b&sp=r&sig=aaaa%3D",
        "?sv=2023-01-03&st=2024-01-01T00%3A00%3A00Z&se=2024-01-02T00%3A00%3A00Z&sr=b&sp=rl&spr=https&sig=bbbb%3D",
    ),
    "Tencent CDN A": (f"?sign=1700000000-abc-0-{HEX}", f"?sign=1700003600-xyz-0-{HEX_2}"),
    "Tencent CDN D": (f"?sign={HEX}&t=1700000000", f"?sign={HEX_2}&t=65a0b1c2"),
    "Tencent live": (f"?txSecret={HEX}&txTime=65A0B1C2", f"?txSecret={HEX_2}&txTime=65A0B1D9"),
    "Wangsu": (f"?wsSecret={HEX}&wsTime=1700000000", f"?wsSecret={HEX_2}&wsTime=1700003600"),
    "Wangsu in hex": (f"?wsSecret={HEX}&wsABStime=65a0b1c2", f"?wsSecret={HEX_2}&wsABStime=65a0b1d9"),
    "UPYUN": ("?_upt=a1b2c3d41700000000", "?_upt=d4c3b2a11700003600"),
    "Aliyun CDN A": (f"?auth_key=1700000000-0-0-{HEX}", f"?auth_key=1700003600-0-0-{HEX_2}"),
    "Aliyun CDN t": (f"?t=1700000000&k={HEX}", f"?t=1700003600&k={HEX_2}"),
    "Huawei CDN": (f"?hwSecret={HEX}&hwTime=65a0b1c2", f"?hwSecret={HEX_2}&hwTime=65a0b1d9"),
    "CloudFront": (
        "?Expires=1700000000&Signature=aa~&Key-Pair-Id=K1&Hash-Algorithm=SHA1",
        "?Policy=eyJhIjox&Signature=bb~&Key-Pair-Id=K2",
    ),
    "Akamai": ("?hdnts=exp=1700000000~hmac=aaaa", "?hdnts=exp=1700003600~hmac=bbbb"),
    "a web token": ("?jwt=eyJ0.eyJpIjox.c2ln&id=7", "?jwt=eyJ0.eyJpIjoy.Z2lz&id=7"),
    "a web token of another name": ("?x=eyJ0eXAi.eyJpIjox.c2ln&id=7", "?x=eyJ0eXAi.eyJpIjoy.Z2lz&id=7"),
    "an hmac": ("?hmac=aaaabbbb&id=7", "?hmac=ccccdddd&id=7"),
    "a token of a session": ("?stoken=aaaabbbb&id=7", "?stoken=ccccdddd&id=7"),
    "a password": ("?id=7&pwd=a1b2", "?id=7&pwd=c3d4"),
    "encoded names": ("?id=7&%74oken=aaaabbbb", "?id=7&%54oken=ccccdddd"),
    "an unknown name": (f"?zz={HEX}&t=1700000000", f"?zz={HEX_2}&t=1700003600"),
    "nginx": ("?md5=aaaabbbbQx1&expires=1700000000", "?md5=ccccddddQx2&expires=1700003600"),
    "nginx in letters": ("?st=aaaabbbb&e=1700000000", "?st=ccccdddd&e=1700003600"),
    "nginx in short": ("?s=aaaa&e=1700000000", "?s=cccc&e=1700003600"),
    "an MD5 in hex": (f"?md5={HEX}&expires=1700000000", f"?md5={HEX_2}&expires=1700003600"),
    "a short token": ("?tk=aaaa&tm=1700000000", "?tk=cccc&tm=1700003600"),
    "QQ": ("?appid=1406&fileid=Ab3cD4eF&rkey=aaaabbbb", "?appid=1406&fileid=Ab3cD4eF&rkey=ccccdddd"),
    "ByteDance": ("?lk3s=a1b2c3d4&x-expires=1700000000", "?lk3s=c3d4a1b2&x-expires=1700003600"),
    "ByteDance, signed": (
        "?lk3s=a1b2c3d4&x-expires=1700000000&x-signature=aaaa%3D",
        "?lk3s=c3d4a1b2&x-expires=1700003600&x-signature=bbbb%3D",
    ),
    "short, and of another name": ("?q=a1b2c3d4&until=1700000000", "?q=c3d4a1b2&until=1700003600"),
    "short, beside a number": ("?q=a1b2c3d4&n=2&e=1700000000", "?q=c3d4a1b2&n=2&e=1700003600"),
    "letters alone": ("?q=aaaa&e=1700000000", "?q=cccc&e=1700003600"),
    "beside an ID": ("?id=7&q=a1b2c3d4&e=1700000000", "?id=7&q=c3d4a1b2&e=1700003600"),
    "one within another, of no name": (
        "?url=https%3A%2F%2Fh%2Fa.png%3Fst%3Daaaa%26e%3D1700000000",
        "?url=https%3A%2F%2Fh%2Fa.png%3Fst%3Dcccc%26e%3D1700003600",
    ),
    "one within another": (
        "?url=https%3A%2F%2Fh%2Fa%3Fid%3D7%26sig%3Daaaabbbb",
        "?url=https://h/a%3Fid%3D7%26sig%3Dcc",
    ),
}
OTHER_SPELLINGS = [
    ("https://f.example/a.png", "https://F.Example/a.png"),
    ("https://f.example/b.png", "https://f.example:443/b.png"),
    ("http://f.example/c.png", "HTTP://F.EXAMPLE:80/c.png"),
    ("https://f.example/get?id=7&md5=aaaa&expires=1700000000", "https://F.example:443/get?id=7&md5=cccc&expires=2"),
    ("https://f.example/d/81f0c4a7-6b0e-4c1e-9a51-1f0e8f6b2a90?q=aaaa1&e=1700000000",) * 2,
]
OPENING = ("aaaa", "bbbb", "cccc", "dddd", "a1b2", "c3d4", HEX, HEX_2, "65a0b1", "eyJ", "c2ln", "K1")
"""Parts of the secrets in the URLs above."""
TWO_FILES = [
    ("https://h/get?id=7", "https://h/get?id=8"),
    ("https://h/find?id=7&sig=aaaa", "https://h/find?id=8&sig=aaaa"),
    (f"https://h/get?docId={HEX}&token=a", f"https://h/get?docId={HEX_2}&token=a"),
    (f"https://h/get?zz={HEX}", f"https://h/get?zz={HEX_2}"),
    (f"https://h/get?{HEX}", f"https://h/get?{HEX_2}"),
    (f"https://h/get.php?f={HEX}", f"https://h/get.php?f={HEX_2}"),
    ("https://h/get?d=17&e=1700000000&token=a", "https://h/get?d=18&e=1700000000&token=a"),
    ("https://h/invoice.pdf?fphm=44312000&sign=a", "https://h/invoice.pdf?fphm=44312001&sign=a"),
    ("https://h/invoice.pdf?fpdm=1100182130&sign=a", "https://h/invoice.pdf?fpdm=1100191130&sign=a"),
    ("https://h/getFile.pdf?k=2f7a9c1e4b6d8f0a2c4e", "https://h/getFile.pdf?k=9a1b9c1e4b6d8f0a2c4e"),
    ("https://h/x.pdf?code=ABCD1234EFGH5678&sign=a", "https://h/x.pdf?code=ABCD1234EFGH5679&sign=a"),
    ("https://h/download?signFlowId=1001", "https://h/download?signFlowId=1002"),
    ("https://h/download?x-file-id=1001", "https://h/download?x-file-id=1002"),
    ("https://h/download?insurancePolicy=1001", "https://h/download?insurancePolicy=1002"),
    ("https://h/get?doc=1700000001&sign=a", "https://h/get?doc=1700000002&sign=a"),
    ("https://h/get?code=031001900204&number=91068626", "https://h/get?code=031001900204&number=91068627"),
    ("https://h/get?file=a/b/1.pdf", "https://h/get?file=a/b/2.pdf"),
    ("https://h/get?key=a/b/1.pdf&token=x", "https://h/get?key=a/b/2.pdf&token=x"),
    ("https://h/get?n=%E5%8F%91%E7%A5%A8", "https://h/get?n=%E7%A5%A8%E5%8F%91"),
    ("https://h/get?url=https%3A%2F%2Fh%2Fa%3Fid%3D7", "https://h/get?url=https%3A%2F%2Fh%2Fa%3Fid%3D8"),
    ("https://h/get?file=a.pdf", "https://h/get?file=b.pdf"),
    ("http://h:443/a.png", "https://h/a.png"),
    ("https://h:80/b.png", "https://h/b.png"),
    ("https://h/get?id=17&md5=a1b2&expires=1700000000", "https://h/get?id=18&md5=a1b2&expires=1700000000"),
    ("https://h/get?file=c.pdf&s=a1b2&e=1700000000", "https://h/get?file=d.pdf&s=a1b2&e=1700000000"),
    ("https://h/get?q=aaaa&e=1700000000", "https://h/get?q=cccc&e=1700000000"),
    ("https://h/get?f=a1b2c3&st=aaaa&e=1700000000", "https://h/get?f=c3b2a1&st=aaaa&e=1700000000"),
    ("https://h/invoice.pdf?f=a1b2c3&t=1700000000", "https://h/invoice.pdf?f=c3b2a1&t=1700000000"),
    ("https://h/invoice.pdf?f=a1b2c3&q=a1b2c3&e=1700000000", "https://h/invoice.pdf?f=c3b2a1&q=a1b2c3&e=1700000000"),
    ("https://h/getFile.pdf?k=a1b2c3&t=1700000000", "https://h/getFile.pdf?k=c3b2a1&t=1700000000"),
    ("https://h/y.pdf?code=ABCD1234&md5=a1b2&expires=1700000000", "https://h/y.pdf?code=ABCD1235&md5=a1&expires=17"),
    ("https://h/share?token=a1b2c3d4", "https://h/share?token=c3d4a1b2"),
    ("https://h/download?sign=a1b2", "https://h/download?sign=c3d4"),
    ("https://h/d?ticket=a1b2c3d4&x=", "https://h/d?ticket=c3d4a1b2&x="),
    ("https://h/?data=eyJ0.eyJpIjox.c2ln", "https://h/?data=eyJ0.eyJpIjoy.Z2lz"),
    ("https://h/dl?k=a1b2c3d4&e=1700000000", "https://h/dl?k=c3d4a1b2&e=1700000000"),
    (f"https://h/fapiao.pdf?p={HEX}&sign=1", f"https://h/fapiao.pdf?p={HEX_2}&sign=1"),
    (f"https://h/preview.pdf?p={HEX}&sign=1", f"https://h/preview.pdf?p={HEX_2}&sign=1"),
    ("https://h/get?md5=1f3870be274f6c49", "https://h/get?md5=9e107d9d372bb682"),
    ("https://api.eu-west-1.amazonaws.com/get?k=1", "https://api.eu-west-1.amazonaws.com/get?k=2"),
    (
        "https://b.oss-cn-beijing.aliyuncs.com/a?versionId=CAE1",
        "https://b.oss-cn-beijing.aliyuncs.com/a?versionId=CAE2",
    ),
]


async def test_a_url_signed_twice_is_billed_once(tmp_path: Path) -> None:
    """Rows whose URLs differ only in their signature share a call, and no signature is stored or exported."""
    rows = [
        f"ocr,https://{n}.example/a/1.png{query},,,,"
        for n, queries in enumerate(SIGNED_TWICE.values())
        for query in queries
    ]
    (tmp_path / "in").mkdir()
    async with (
        Sandbox(ocr_rate=0) as box,
        session(box) as ekb,
        Backlog.open(tmp_path / "b.sqlite") as backlog,
    ):
        await backlog.add_manifest(manifest(tmp_path / "in", *rows))
        await backlog.run(ekb)
        await backlog.export(tmp_path / "out.jsonl")
        await backlog.export(tmp_path / "out.csv")
        await backlog.report(tmp_path / "out.html")
        done = await all_tasks(backlog, "done")
    assert len(done) == len(rows)
    assert box.count("ocr") == len(SIGNED_TWICE)
    check_files(tmp_path, OPENING)


def check_files(directory: Path, secrets: tuple[str, ...]) -> None:
    for file in directory.iterdir():
        content = file.read_bytes() if file.is_file() else b""
        assert not [secret for secret in secrets if secret.encode() in content], file


async def calls_for(directory: Path, rows: list[str]) -> int:
    """Run a backlog of these rows, check that all are done, and return the number of calls."""
    async with (
        Sandbox(ocr_rate=0) as box,
        session(box) as ekb,
        Backlog.open(directory / "b.sqlite") as backlog,
    ):
        await backlog.add_manifest(manifest(directory, *rows))
        await backlog.run(ekb)
        assert len(await all_tasks(backlog, "done")) == len(rows)
    return box.count("ocr")


async def test_one_host_has_many_spellings(tmp_path: Path) -> None:
    """A host in capitals or an explicit default port names the same file, and the row is found in its manifest."""
    rows = [f"ocr,{url},,,," for pair in OTHER_SPELLINGS for url in pair]
    assert await calls_for(tmp_path, rows) == len(OTHER_SPELLINGS)


async def test_two_files_are_two_calls(tmp_path: Path) -> None:
    """Rows whose URLs name two files are two calls, however similar the URLs are."""
    rows = [f"ocr,{url},,,," for pair in TWO_FILES for url in pair]
    assert await calls_for(tmp_path, rows) == len(rows)


@pytest.mark.parametrize(
    ("url", "again"),
    [
        ("https://h/2024/00817/download?token=a1b2c3d4", "https://h/2024/00817/download?token=c3d4a1b2"),
        (f"https://h/invoice.pdf?t=1700000000&k={HEX}", f"https://h/invoice.pdf?t=1700003600&k={HEX_2}"),
        ("https://h/invoice.pdf?q=a1b2c3d4&until=1700000000", "https://h/invoice.pdf?q=c3d4a1b2&until=1700003600"),
        ("https://h/Ab1Cd2Ef3Gh4?token=a1b2c3d4", "https://h/Ab1Cd2Ef3Gh4?token=c3d4a1b2"),
        ("https://h/get?Expires=1700000000&Signature=aa", "https://h/get?Expires=1700003600&Signature=bb"),
        ("https://h/get?q-sign-algorithm=sha1&q-signature=aa", "https://h/get?q-sign-algorithm=sha1&q-signature=bb"),
        ("https://h/get?https%3A%2F%2Fh%2Fa.png%3Fsign%3Daaaa", "https://h/get?https%3A%2F%2Fh%2Fa.png%3Fsign%3Dcccc"),
    ],
)
def test_an_address_that_names_its_file_is_known_by_it(url: str, again: str) -> None:
    """A token beside an ID in the path, and a signature of an address, do not distinguish files."""
    assert without_signature(url) == without_signature(again)


@pytest.mark.parametrize(
    "url",
    [
        *(f"https://h/a.png{query}" for pair in SIGNED_TWICE.values() for query in pair),
        *(url for pair in TWO_FILES for url in pair),
    ],
)
def test_what_is_left_stays_as_it_is(url: str) -> None:
    """Removing the signature is idempotent, so that a row finds its URL in the manifest."""
    kept = without_signature(url)
    assert without_signature(kept) == kept


@pytest.mark.parametrize(
    ("kept", "is_same"),
    [
        ("https://h/a.png?id=7", True),
        ("https://H:443/a.png?id=7", True),
        ("https://h/a.png?id=7&st=aaaa", True),
        ("https://h/a.png?id=7&st=~61be55a8e2f6b4e1", True),
        ("https://h/a.png?id=7&st=bbbb", False),
        ("https://h/a.png?id=8", False),
        ("https://h/a.png", False),
        ("https://h/b.png?id=7", False),
        ("https://i/a.png?id=7", False),
        ("https://[h/a.png?id=7", False),
    ],
)
def test_what_another_version_kept(kept: str, is_same: bool, tmp_path: Path) -> None:
    """A row stored with more of its query is found in its manifest; a row that was changed is not."""
    url = "https://h/a.png?id=7&st=aaaa&e=1700000000#x"
    path, row = tmp_path / "m.csv", f"ocr,{url}\n"
    path.write_text(row)
    if is_same:
        assert signed_url(path, ("kind", "file"), 0, len(row), kept) == url
    else:
        with pytest.raises(ConfigError, match="was changed"):
            signed_url(path, ("kind", "file"), 0, len(row), kept)


@pytest.mark.parametrize(("kept", "is_same"), [("https://h/share", True), ("https://h/other", False)])
def test_a_link_of_which_no_token_was_kept(kept: str, is_same: bool, tmp_path: Path) -> None:
    """A row stored without its token by an earlier version is found in its manifest."""
    url = "https://h/share?token=a1b2c3d4"
    path, row = tmp_path / "m.csv", f"ocr,{url}\n"
    path.write_text(row)
    if is_same:
        assert signed_url(path, ("kind", "file"), 0, len(row), kept) == url
    else:
        with pytest.raises(ConfigError, match="was changed"):
            signed_url(path, ("kind", "file"), 0, len(row), kept)


async def test_an_answer_keeps_no_signature(tmp_path: Path) -> None:
    """A signed URL in an answer is stored without its query, whatever the kind of signature."""
    remark = " ".join(f"https://h/a.png{query}" for pair in SIGNED_TWICE.values() for query in pair)
    body = json.dumps({"value": {"invoices": [{"details": {"remark": remark}}]}}).encode()
    keys = AppCredentials(app_key="key", app_security="secret-of-the-app")
    (tmp_path / "in").mkdir()
    async with (
        EkbSession(keys, transport=FixedAnswer(200, body)) as ekb,
        Backlog.open(tmp_path / "b.sqlite") as backlog,
    ):
        await backlog.add_manifest(manifest(tmp_path / "in", "ocr,https://h/b.png,,,,"))
        await backlog.run(ekb)
        await backlog.export(tmp_path / "out.jsonl")
        (task,) = await all_tasks(backlog)
    assert task.result["invoices"][0]["details"]["remark"].split() == ["https://h/a.png"] * (2 * len(SIGNED_TWICE))
    check_files(tmp_path, OPENING)
