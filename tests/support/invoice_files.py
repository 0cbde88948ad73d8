"""Invoice files of made-up invoices, built from their parts, and the sample files with what each must give."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pypdfium2
import zxingcpp
from PIL import Image

SAMPLES = Path(__file__).parent / "samples" / "einvoice"
EXPECTED: dict[str, dict[str, Any]] = json.loads((SAMPLES / "expected.json").read_text(encoding="utf-8"))

NUMBER = "25999900000000000017"
OTHER = "25999900000000000025"
CODE, OLD_NUMBER = "099002400111", "00000017"
DIGITAL_QR = f"01,31,,{NUMBER},1000.00,20250309,,0A1B"
OLD_QR = f"01,10,{CODE},{OLD_NUMBER},106.2,20240506,01234567890123456789,0A1B,"


def sample(name: str) -> bytes:
    """Return a sample file."""
    return (SAMPLES / name).read_bytes()


def platform_xml(
    number: str = NUMBER,
    header_number: str | None = None,
    *,
    net: str = "943.40",
    tax: str = "56.60",
    total: str = "1000.00",
    date: str = "2025-03-09",
    seller: str = "虚构乙方示例服务有限公司",
    more: str = "",
    labels: str = "",
) -> str:
    """Return an invoice of the tax platform."""
    header_number = number if header_number is None else header_number
    return (
        f"<EInvoice><Header><EIid>{header_number}</EIid><InherentLabel><GeneralOrSpecialVAT><LabelCode>02</LabelCode>"
        f"</GeneralOrSpecialVAT></InherentLabel>{labels}</Header><EInvoiceData>"
        f"<SellerInformation><SellerIdNum>91990000MA0000002Y</SellerIdNum><SellerName>{seller}</SellerName>"
        "</SellerInformation><BuyerInformation><BuyerName>虚构甲方</BuyerName></BuyerInformation><BasicInformation>"
        f"<TotalAmWithoutTax>{net}</TotalAmWithoutTax><TotalTaxAm>{tax}</TotalTaxAm>"
        f"<TotalTax-includedAmount>{total}</TotalTax-includedAmount><RequestTime>{date}</RequestTime>"
        "</BasicInformation><IssuItemInformation><Amount>1.00</Amount>"
        f"<TotaltaxIncludedAmount>2.00</TotaltaxIncludedAmount></IssuItemInformation>{more}</EInvoiceData>"
        f"<TaxSupervisionInfo><InvoiceNumber>{number}</InvoiceNumber></TaxSupervisionInfo></EInvoice>"
    )


def xbrl(taxonomy: str, **facts: str) -> str:
    """Return a report with facts of a taxonomy of the ministry of finance."""
    stated = "".join(
        f'<t:{name.replace("__", "-")} contextRef="C">{text}</t:{name.replace("__", "-")}>'
        for name, text in facts.items()
    )
    return (
        '<xbrl xmlns="http://www.xbrl.org/2003/instance" '
        f'xmlns:t="http://xbrl.mof.gov.cn/taxonomy/2023-12-31/{taxonomy}">{stated}</xbrl>'
    )


def zipped(entries: Iterable[tuple[str, str | bytes]], *, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a ZIP archive of these entries, compressed unless `method` is another one."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return target.getvalue()


def ofd(data: str = "", entries: Iterable[tuple[str, str | bytes]] = ()) -> bytes:
    """Return an OFD file with custom data (`<ofd:CustomData …>` elements) and entries below `Doc_0/`."""
    root = (
        '<ofd:OFD xmlns:ofd="http://www.ofdspec.org/2016"><ofd:DocBody><ofd:DocInfo><ofd:CustomDatas>'
        f"{data}</ofd:CustomDatas></ofd:DocInfo><ofd:DocRoot>Doc_0/Document.xml</ofd:DocRoot></ofd:DocBody></ofd:OFD>"
    )
    return zipped([("OFD.xml", root), *((f"Doc_0/{name}", content) for name, content in entries)])


def custom_data(**values: str) -> str:
    """Return custom data by name; an empty value makes a self-closing element."""
    return "".join(
        f'<ofd:CustomData Name="{name}">{text}</ofd:CustomData>' if text else f'<ofd:CustomData Name="{name}"/>'
        for name, text in values.items()
    )


def page_of(*texts: str) -> str:
    """Return an OFD page with text objects numbered from 1."""
    objects = "".join(
        f'<ofd:TextObject ID="{number}"><ofd:TextCode>{text}</ofd:TextCode></ofd:TextObject>'
        for number, text in enumerate(texts, 1)
    )
    return f'<ofd:Page xmlns:ofd="http://www.ofdspec.org/2016">{objects}</ofd:Page>'


def qr_code(text: str, module: int) -> Image.Image:
    """Return a QR code with so many pixels for a module."""
    code: Any = zxingcpp.create_barcode(text, zxingcpp.BarcodeFormat.QRCode)
    drawn = memoryview(code.to_image())
    height, width = drawn.shape or (0, 0)
    image = Image.frombytes("L", (width, height), bytes(drawn))
    return image.resize((width * module, height * module), Image.Resampling.NEAREST)


def qr_image(*texts: str, module: int = 6) -> Image.Image:
    """Return a gray picture with QR codes side by side."""
    codes = [qr_code(text, module) for text in texts]
    margin = 8 * module
    size = (sum(code.width + margin for code in codes) + margin, max(code.height for code in codes) + 2 * margin)
    image = Image.new("L", size, 255)
    left = margin
    for code in codes:
        image.paste(code, (left, margin))
        left += code.width + margin
    return image


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """Return a picture as a file."""
    target = io.BytesIO()
    image.save(target, kind, **options)
    return target.getvalue()


def encrypted_zip(plain: Iterable[tuple[str, str | bytes]], encrypted: Iterable[tuple[str, str | bytes]]) -> bytes:
    """Return a ZIP archive of which some entries are marked as encrypted."""
    secret = list(encrypted)
    archive = bytearray(zipped([*plain, *secret]))
    for mark, flags, name_at in ((b"PK\x03\x04", 6, 30), (b"PK\x01\x02", 8, 46)):
        for name, _ in secret:
            place = archive.find(mark)
            while archive[place + name_at : place + name_at + len(name)] != name.encode():
                place = archive.find(mark, place + 1)
            archive[place + flags] |= 1
    return bytes(archive)


def pdf(*pages: Image.Image | Sequence[Image.Image] | None, attachments: Iterable[tuple[str, bytes]] = ()) -> bytes:
    """Return a PDF whose pages show a picture, several, or nothing, with attachments."""
    document = pypdfium2.PdfDocument.new()
    for shown in pages:
        page = document.new_page(595, 397)
        left = 20.0
        for picture in [shown] if isinstance(shown, Image.Image) else shown or ():
            image = pypdfium2.PdfImage.new(document)
            image.load_jpeg(io.BytesIO(encoded(picture, "JPEG")), inline=True)
            size = picture.width / 3, picture.height / 3
            image.set_matrix(pypdfium2.PdfMatrix().scale(*size).translate(left, 200))
            left += size[0] + 10
            page.insert_obj(image)
        page.gen_content()
    for name, content in attachments:
        document.new_attachment(name).set_data(content)
    target = io.BytesIO()
    document.save(target)
    document.close()
    return target.getvalue()


def raw_pdf(
    content: bytes, dictionary: bytes = b"", *, more: Iterable[bytes] = (), resources: bytes = b"", box: str = "595 397"
) -> bytes:
    """Return a PDF of one page with this content stream; `more` are objects from number 5 on."""
    return document_of(
        [
            b"<</Type/Catalog/Pages 2 0 R>>",
            b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 %s]/Resources<<%s>>/Contents 4 0 R>>" % (box.encode(), resources),
            stream(content, dictionary),
            *more,
        ]
    )


_UNICODE = (
    b"/CIDInit /ProcSet findresource begin begincmap /CMapType 2 def 1 begincodespacerange <0000> <FFFF> "
    b"endcodespacerange 1 beginbfrange <0000> <FFFF> <0000> endbfrange endcmap end"
)


def text_pdf(*texts: str, picture: Image.Image | None = None, covers: bool = False, information: bytes = b"") -> bytes:
    """Return a PDF whose pages have these texts, a line each; the last page shows the picture too, or is covered by it.

    `information` is what the document says of itself.
    """
    first = 7
    count = len(texts)
    kids = b" ".join(b"%d 0 R" % (first + number) for number in range(count))
    size = (picture.width, picture.height) if picture else (1, 1)
    dictionary = b"/Type/XObject/Subtype/Image/Width %d/Height %d/ColorSpace/DeviceGray/BitsPerComponent 8" % size
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Resources<</Font<</F 3 0 R>>%s>>/Contents %d 0 R>>"
    shows = b"/XObject<</I 6 0 R>>"
    contents = [_lines(text) for text in texts]
    if picture:
        contents[-1] += b" q %s 0 0 cm /I Do Q" % (b"595 0 0 842" if covers else b"400 0 0 300")
    return document_of(
        [
            b"<</Type/Catalog/Pages 2 0 R>>",
            b"<</Type/Pages/Kids[%s]/Count %d>>" % (kids, count),
            b"<</Type/Font/Subtype/Type0/BaseFont/F/Encoding/Identity-H/DescendantFonts[4 0 R]/ToUnicode 5 0 R>>",
            b"<</Type/Font/Subtype/CIDFontType2/BaseFont/F/CIDSystemInfo<</Registry(A)/Ordering(I)/Supplement 0>>>>",
            stream(_UNICODE),
            stream(zlib.compress(picture.tobytes() if picture else b"\0"), dictionary + b"/Filter/FlateDecode"),
            *(page % (shows, first + count + number) for number in range(count)),
            *(stream(content) for content in contents),
            b"<<%s>>" % information,
        ],
        b"/Info %d 0 R" % (first + 2 * count),
    )


def _lines(text: str) -> bytes:
    shown = [b"<%s> Tj 0 -16 Td" % line.encode("utf-16-be").hex().encode() for line in text.split("\n") if line]
    return b"BT /F 10 Tf 30 800 Td %s ET" % b" ".join(shown)


def encrypted_pdf() -> bytes:
    """Return a PDF that asks for a password."""
    trailer = b"/Encrypt<</Filter/Standard/V 1/R 2/O(%s)/U(%s)/P -4>>/ID[<00><00>]" % (b"o" * 32, b"u" * 32)
    return document_of([b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[]/Count 0>>"], trailer)


def document_of(objects: Iterable[bytes], trailer: bytes = b"") -> bytes:
    """Return a PDF of these objects, numbered from 1; the first one is the catalog."""
    written = b"%PDF-1.7\n"
    offsets = []
    for number, each in enumerate(objects, 1):
        offsets.append(len(written))
        written += b"%d 0 obj\n%s\nendobj\n" % (number, each)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    end = b"trailer<</Size %d/Root 1 0 R%s>>\nstartxref\n%d\n%%%%EOF" % (len(offsets) + 1, trailer, len(written))
    return written + b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(offsets) + 1, table) + end


def stream(content: bytes, dictionary: bytes = b"") -> bytes:
    """Return a stream object of a PDF."""
    return b"<<%s/Length %d>>\nstream\n%s\nendstream" % (dictionary, len(content), content)
