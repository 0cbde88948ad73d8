"""OFD files: a ZIP with XML pages. An attachment is read first, then the tags, the document's data, and the QR picture.

An OFD file may have electronic seals. They are not checked: that takes the tax bureau's trust roots.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

import msgspec

from ekb_async.einvoice.formats import ofd_tags, pictures
from ekb_async.einvoice.formats.archives import Archive
from ekb_async.einvoice.formats.xml_invoice import RefusedError, read_xml
from ekb_async.einvoice.formats.xml_tree import Node, in_utf8, parse
from ekb_async.einvoice.identity import keys
from ekb_async.einvoice.limits import LIMITS, MB
from ekb_async.einvoice.model import Evidence, Source
from ekb_async.einvoice.page_text import may_name_others
from ekb_async.einvoice.progress import Progress, tried
from ekb_async.einvoice.values import evidence_of

ROOT = "OFD.xml"

_DATA = {
    "code": "发票代码",
    "number": "发票号码",
    "date": "开票日期",
    "amount_excluding_tax": "合计金额",
    "tax": "合计税额",
    "total": "价税合计",
    "check_code": "校验码",
    "seller": "销售方名称",
    "seller_tax_id": "销售方纳税人识别号",
    "buyer": "购买方名称",
    "buyer_tax_id": "购买方纳税人识别号",
}
_ATTACHMENT = re.compile(r"(?:.*/)?attach[^/]*/(?:.*/)?(?!attachments\.xml$)[^/]+\.(?:xml|xbrl)", re.IGNORECASE)
_ATTACHED = re.compile(r"(?:.*/)?attach[^/]*/(?:.*/)?(?!attachments\.xml$)[^/]+", re.IGNORECASE)
_TAGS = re.compile(r"(?:.*/)?customtag(?!s\.xml$)[^/]*\.xml", re.IGNORECASE)
_PAGE = re.compile(r"(?:.*/)?pages/[^/]+/content\.xml", re.IGNORECASE)
_ANY_COUNT = 1_000
"""Labels say nothing here, as they lie in a template."""
_PICTURE = re.compile(r".*\.(?:png|jpe?g|bmp)", re.IGNORECASE)


def read_ofd(archive: Archive, progress: Progress) -> Iterator[list[Evidence]]:
    """Yield the evidence of each document in an OFD file; mostly there is one."""
    root = parse(archive.read(ROOT, most=LIMITS.xml_bytes))
    bodies = [node for node in root.children if node.name == "DocBody"]
    for body in bodies:
        progress.check()
        folder = posixpath.dirname((body.value("DocRoot") or "").lstrip("/"))
        names = archive.names if len(bodies) == 1 else [each for each in archive.names if each.startswith(f"{folder}/")]
        yield from _document(archive, body, names, progress)


def _document(archive: Archive, body: Node, names: list[str], progress: Progress) -> Iterator[list[Evidence]]:
    attached = list(_attachments(archive, names, progress))
    evidence = attached[0] if len(attached) == 1 else []
    if len(attached) > 1:
        yield from attached
    pages = _pages(archive, names, progress)
    evidence += _tagged(archive, names, pages, progress)
    evidence += [found] if (found := _data(body)).number else []
    if not _is_confirmed(evidence):
        progress.need_libraries()
        evidence += _pictured(archive, names, progress)
    if not _is_settled(pages, [*evidence, *(each for record in attached for each in record)]):
        progress.leave_out()
    yield evidence


def _is_settled(pages: list[_Page | None], evidence: list[Evidence]) -> bool:
    """Return whether an invoice was found, and no further page may show another one."""
    if not any(map(keys, evidence)) or None in pages:
        return False
    if len(pages) < 2:
        return True
    return not any(
        (page.has_pictures and not page.text.strip()) or may_name_others(page.text, evidence, _ANY_COUNT)
        for page in pages
        if page
    )


def _attachments(archive: Archive, names: list[str], progress: Progress) -> Iterator[list[Evidence]]:
    """Yield the invoices of the attachments. Raises `RefusedError` if one contradicts itself."""
    for name in names:
        if not _ATTACHED.fullmatch(name):
            continue
        progress.check()
        if not _ATTACHMENT.fullmatch(name):
            progress.leave_out()
            continue
        try:
            yield from read_xml(archive.read(name, most=LIMITS.xml_bytes), Source.OFD_ATTACHMENT, progress)
        except RefusedError:
            raise
        except Exception:  # noqa: BLE001 - a damaged attachment leaves the other parts as they are
            progress.leave_out()


class _Page(msgspec.Struct):
    """A page: its texts by the numbers of their objects, and whether it shows pictures."""

    objects: dict[str, str]
    has_pictures: bool

    @property
    def text(self) -> str:
        """All texts, a line each."""
        return "\n".join(self.objects.values())


def _pages(archive: Archive, names: list[str], progress: Progress) -> list[_Page | None]:
    """Return the pages, None for one that is damaged."""
    found = []
    for name in names:
        if _PAGE.fullmatch(name):
            progress.check()
            found.append(tried(_page, archive, name))
    return found


def _page(archive: Archive, name: str) -> _Page:
    nodes = list(parse(archive.read(name, most=LIMITS.xml_bytes)).walk())
    return _Page(
        {
            node.attributes.get("ID", ""): "".join(child.text for child in node.children if child.name == "TextCode")
            for node in nodes
            if node.name == "TextObject"
        },
        any(node.name == "ImageObject" for node in nodes),
    )


def _tagged(archive: Archive, names: list[str], pages: list[_Page | None], progress: Progress) -> list[Evidence]:
    objects = {number: text for page in pages if page for number, text in page.objects.items()}
    found = []
    for name in names:
        if _TAGS.fullmatch(name):
            progress.check()
            text = in_utf8(archive.read(name, most=MB)).decode(errors="replace")
            found.append(evidence_of(Source.OFD_TAGS, ofd_tags.texts_of(ofd_tags.references(text), objects)))
    return [evidence for evidence in found if evidence.number]


def _data(body: Node) -> Evidence:
    values: dict[str, str] = {}
    for node in body.walk():
        if node.name == "CustomData":
            values.setdefault(node.attributes.get("Name", ""), node.text)
    return evidence_of(Source.OFD_DATA, {field: values.get(name) for field, name in _DATA.items()})


def _is_confirmed(evidence: list[Evidence]) -> bool:
    """Return whether two sources name the invoice and one states its total, so that no picture need be searched."""
    return len([each for each in evidence if keys(each)]) > 1 and any(each.total is not None for each in evidence)


def _pictured(archive: Archive, names: list[str], progress: Progress) -> list[Evidence]:
    """Return what QR codes in the document's pictures state; nothing if the libraries for pictures are missing."""
    found: list[Evidence] = []
    if not pictures.can_read():
        return found
    for name in [each for each in names if _PICTURE.fullmatch(each)][: LIMITS.ofd_pictures]:
        progress.check()
        found += tried(_in_picture, archive, name) or []
    return found


def _in_picture(archive: Archive, name: str) -> list[Evidence]:
    return pictures.read_small(archive.read(name, most=4 * MB))
