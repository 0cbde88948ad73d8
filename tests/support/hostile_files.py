"""Files that are made to fill the memory, to keep a reader busy, or to reach other files."""

from __future__ import annotations

import base64
import os
import zlib
from collections.abc import Callable

from PIL import Image

from tests.support.invoice_files import encoded, ofd, qr_code, raw_pdf, stream, zipped

MB = 1 << 20
_SQUARES = b"0 0 1 1 re f\n"


def _nested_zip() -> bytes:
    content = b"<a/>"
    for _ in range(60):
        content = zipped([("a.zip", content)])
    return content


def _corners(side: int) -> Image.Image:
    """Return a picture full of corners of QR codes."""
    corner = Image.new("L", (9, 9), 255)
    for colour, inset in ((0, 1), (255, 2), (0, 3)):
        corner.paste(colour, (inset, inset, 9 - inset, 9 - inset))
    image = Image.new("L", (side, side), 255)
    for top in range(0, side, 9):
        for left in range(0, side, 9):
            image.paste(corner, (left, top))
    return image


def _sparse_corners(side: int) -> Image.Image:
    """Return a picture full of corners, but not in the rows in the middle of sixteen bands."""
    image, corners = Image.new("L", (side, side), 255), _corners(side)
    empty = {(2 * band + 1) * side // 32 for band in range(16)}
    top = 0
    while top < side - 9:
        if empty.isdisjoint(range(top, top + 9)):
            image.paste(corners.crop((0, 0, side, 9)), (0, top))
            top += 8
        top += 1
    return image


def _scans(side: int, count: int) -> bytes:
    """Return a JPEG whose last scan comes so many times."""
    picture = encoded(Image.new("L", (side, side), 200), "JPEG", progressive=True)
    return picture[:-2] + picture[picture.rfind(b"\xff\xda") : -2] * count + b"\xff\xd9"


def _codes(count: int) -> Image.Image:
    """Return a picture with so many QR codes squared, none of an invoice."""
    side = 2600 // count
    image = Image.new("L", (2600, 2600), 255)
    code = qr_code("https://example.com/", 1).resize((side - 8, side - 8), Image.Resampling.NEAREST)
    for place in range(count * count):
        image.paste(code, (place % count * side, place // count * side))
    return image


def _deflated(content: bytes, dictionary: bytes = b"/Filter/FlateDecode") -> bytes:
    return raw_pdf(zlib.compress(content, 9), dictionary)


def _forms(encode: Callable[[bytes], tuple[bytes, bytes]] = lambda content: (content, b""), more: bytes = b"") -> bytes:
    """Return a PDF with ten forms, each of which draws the next one ten times; `more` is in their dictionaries."""

    def form(content: bytes, next_one: int) -> bytes:
        encoded_content, filters = encode(content)
        draw = b"/Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources<</XObject<</X %d 0 R>>>>" % next_one
        return stream(encoded_content, more + draw + filters)

    forms = [*(form(b"/X\0Do " * 10, number) for number in range(6, 16)), form(_SQUARES, 5)]
    return raw_pdf(b"/X Do ", more=forms, resources=b"/XObject<</X 5 0 R>>")


def _in_ascii(content: bytes) -> tuple[bytes, bytes]:
    return base64.a85encode(zlib.compress(content)) + b"~>", b"/Filter[/ASCII85Decode/FlateDecode]"


def _in_runs(content: bytes) -> tuple[bytes, bytes]:
    return b"".join(b"\0%c" % byte for byte in content) + b"\x80", b"/Filter/RunLengthDecode"


def _nested(content: bytes, dictionary: bytes, link: bytes, resource: bytes) -> bytes:
    """Return a PDF with streams that each use the next one in their resources, many times."""
    objects = []
    for number in range(5, 45, 2):
        objects.append(b"<</Type/ExtGState/SMask<</S/Luminosity/G %d 0 R>>>>" % (number + 1))
        objects.append(stream(content, dictionary + b"/Resources<<%s<<%s %d 0 R>>>>" % (resource, link, number + 2)))
    return raw_pdf(content, more=[*objects, b"<</Type/ExtGState>>"], resources=b"%s<<%s 5 0 R>>" % (resource, link))


def _masks() -> bytes:
    form = b"/Type/XObject/Subtype/Form/BBox[0 0 595 397]/Group<</S/Transparency>>"
    return _nested(b"/G gs 0 0 595 397 re f " * 2, form, b"/G", b"/ExtGState")


def _patterns() -> bytes:
    """Return a PDF with patterns of patterns."""
    head = b"/Type/Pattern/PatternType 1/PaintType 1/TilingType 1/BBox[0 0 99 99]/XStep 99/YStep 99"
    draw = b"/Pattern cs /P scn " + b"0 0 99 99 re f " * 10
    tiles = [stream(draw, head + b"/Resources<</Pattern<</P %d 0 R>>>>" % number) for number in range(6, 14)]
    return raw_pdf(draw, more=[*tiles, stream(_SQUARES, head)], resources=b"/Pattern<</P 5 0 R>>")


def _draws(count: int, squares: int) -> bytes:
    form = stream(zlib.compress(_SQUARES * squares), b"/Filter/FlateDecode/Type/XObject/Subtype/Form/BBox[0 0 9 9]")
    return raw_pdf(b"/X Do " * count, more=[form], resources=b"/XObject<</X 5 0 R>>")


def _glyphs() -> bytes:
    """Return a PDF with a font of its own, whose one letter takes long."""
    font = (
        b"<</Type/Font/Subtype/Type3/FontBBox[0 0 1000 1000]/FontMatrix[.001 0 0 .001 0 0]/CharProcs<</a 6 0 R>>"
        b"/Encoding<</Type/Encoding/Differences[97/a]>>/FirstChar 97/LastChar 97/Widths[10]/Resources<<>>>>"
    )
    glyph = stream(zlib.compress(b"1000 0 d0\n" + _SQUARES * 9_000), b"/Filter/FlateDecode")
    text = b"BT /F 9 Tf 10 10 Td (" + b"a" * 40_000 + b") Tj ET"
    return raw_pdf(text, more=[font, glyph], resources=b"/Font<</F 5 0 R>>")


def _shading(dictionary: bytes, content: bytes) -> bytes:
    """Return a PDF that fills a page with colours that a stream computes."""
    axial = b"<</ShadingType 1/ColorSpace/DeviceRGB/Domain[0 1 0 1]/Matrix[600 0 0 400 0 0]/Function 5 0 R>>"
    shading = b"5 0 R" if b"ShadingType" in dictionary else axial
    return raw_pdf(b"/S sh", more=[stream(content, dictionary)], resources=b"/Shading<</S %s>>" % shading)


_MESH = (
    b"/ShadingType 7/ColorSpace/DeviceRGB/BitsPerCoordinate 8/BitsPerComponent 8/BitsPerFlag 8"
    b"/Decode[0 595 0 397 0 1 0 1 0 1]"
)


def _denied_picture(kind: str, dictionary: bytes, side: int) -> bytes:
    """Return a PDF with a picture that is larger than its dictionary says."""
    small = b"/Type/XObject/Subtype/Image/Width 9/Height 9/ColorSpace/DeviceGray/BitsPerComponent 8" + dictionary
    picture = stream(encoded(Image.new("L", (side, side)), kind), small)
    return raw_pdf(b"500 0 0 390 0 0 cm /I Do", more=[picture], resources=b"/XObject<</I 5 0 R>>")


def _table() -> bytes:
    """Return a PDF whose table of objects is large."""
    table = stream(zlib.compress(bytes(28 * MB), 9), b"/Type/XRef/Size 4000000/W[1 4 2]/Root 1 0 R/Filter/FlateDecode")
    head = (
        b"%PDF-1.7\n1 0 obj\n<</Type/Catalog/Pages 2 0 R>>\nendobj\n2 0 obj\n<</Type/Pages/Kids[]/Count 0>>\nendobj\n"
    )
    return head + b"4 0 obj\n%s\nendobj\nstartxref\n%d\n%%%%EOF" % (table, len(head))


def _tiles(matrix: bytes, step: bytes) -> bytes:
    pattern = b"/Type/Pattern/PatternType 1/PaintType 1/TilingType 1/BBox[0 0 1 1]/XStep %s/YStep %s/Matrix[%s 0 0]"
    tile = stream(_SQUARES, pattern % (step, step, matrix))
    return raw_pdf(b"/Pattern cs /P scn 0 0 595 397 re f", more=[tile], resources=b"/Pattern<</P 5 0 R>>")


def _picture_in_pdf(side: int, data: bytes) -> bytes:
    dictionary = (
        b"/Type/XObject/Subtype/Image/Width %d/Height %d/ColorSpace/DeviceGray/BitsPerComponent 8/Filter/FlateDecode"
    )
    picture = stream(zlib.compress(data), dictionary % (side, side))
    return raw_pdf(b"500 0 0 390 0 0 cm /I Do", more=[picture], resources=b"/XObject<</I 5 0 R>>")


_SHADING = (
    b"/Shading<</S<</ShadingType 1/ColorSpace/DeviceRGB/Domain[0 1 0 1]/Matrix[600 0 0 400 0 0]"
    b"/Function<</FunctionType 2/Domain[0 1]/N 1>>>>>>"
)
_LAUGHS = b'<!DOCTYPE l [<!ENTITY l0 "l">' + b"".join(
    b'<!ENTITY l%d "%s">' % (level, b"&l%d;" % (level - 1) * 10) for level in range(1, 10)
)

HOSTILE: dict[str, Callable[[], bytes]] = {
    "zip of zeros": lambda: zipped([("a.xml", b"\0" * (64 * MB))]),
    "zip of bombs": lambda: zipped([(f"{number}.xml", b"<a>" + b" " * (4 * MB)) for number in range(20)]),
    "zip of slow entries": lambda: zipped(
        [(f"{number}.pdf", b"%PDF-" + (os.urandom(400) + bytes(60_000)) * 60) for number in range(40)]
    ),
    "zip of many entries": lambda: zipped([(f"{number}.xml", b"<a/>") for number in range(2_000)]),
    "zip in zip in zip": _nested_zip,
    "deep XML": lambda: b"<a>" * 1_000_000,
    "wide XML": lambda: b"<a>" + b"<b/>" * 1_900_000 + b"</a>",
    "long number": lambda: b"<EInvoice><Header><EIid>" + b"2" * (7 * MB) + b"</EIid></Header></EInvoice>",
    "many attributes": lambda: b"<a " + b" ".join(b"x%d='1'" % number for number in range(400_000)) + b"/>",
    "billion laughs": lambda: _LAUGHS + b"]><a>&l9;</a>",
    "external entity": lambda: b'<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><EInvoice>&x;</EInvoice>',
    "large file": lambda: b"%PDF-1.4\n" + bytes(100 * MB),
    "streams without end": lambda: b"%PDF-1.4\n" + b">>stream\n" * (20 * MB // 9),
    "tags without end": lambda: ofd(entries=[("Tags/CustomTag.xml", b"<:a " * 250_000)]),
    "many attachments": lambda: ofd(
        entries=[(f"Attachs/{number}.xml", os.urandom(9_000).hex() + "<a>" * 9_000) for number in range(400)]
    ),
    "huge picture": lambda: encoded(Image.new("1", (9_000, 9_000))),
    "large picture": lambda: encoded(Image.new("RGB", (6_300, 6_300)), compress_level=1),
    "large photo": lambda: encoded(Image.new("L", (9_900, 9_900)), "JPEG"),
    "many codes": lambda: encoded(_codes(20)),
    "tiny codes": lambda: encoded(_codes(44)),
    "noise": lambda: encoded(Image.frombytes("L", (2_600, 2_600), os.urandom(2_600 * 2_600)), compress_level=0),
    "corners of codes": lambda: encoded(_corners(2_600)),
    "corners between rows": lambda: encoded(_sparse_corners(2_600)),
    "many scans": lambda: _scans(4_000, 400),
    "corners in a PDF": lambda: _picture_in_pdf(2_600, _corners(2_600).tobytes()),
    "large stream": lambda: _deflated(_SQUARES * (40 * MB // 13)),
    "stream twice compressed": lambda: _deflated(
        zlib.compress(bytes(200 * MB), 9), b"/Filter[ /F#6cateDecode /FlateDecode ]"
    ),
    "escaped filter": lambda: _deflated(_SQUARES * (40 * MB // 13), b"/Filter/F#6cateDecode"),
    "filter elsewhere": lambda: raw_pdf(
        zlib.compress(_SQUARES * (40 * MB // 13)), b"/Filter 5 0 R", more=[b"/FlateDecode"]
    ),
    "stream in ASCII": lambda: raw_pdf(
        base64.a85encode(zlib.compress(_SQUARES * (40 * MB // 13), 9)) + b"~>",
        b"/Filter[/ASCII85Decode/FlateDecode]",
    ),
    "large text": lambda: _deflated(b"BT 1 1 Td (" + b"2 5 " * 600_000 + b") Tj ET"),
    "huge page": lambda: raw_pdf(_SQUARES, box="9999999 9999999"),
    "narrow page": lambda: raw_pdf(_SQUARES, box="1 1400000"),
    "forms in forms": _forms,
    "forms in ASCII": lambda: _forms(_in_ascii),
    "forms in runs": lambda: _forms(_in_runs),
    "forms behind a string": lambda: _forms(more=b"/A(>>stream )"),
    "forms behind spaces": lambda: _forms(more=b"/A(" + b" " * 3_000 + b" obj)"),
    "forms of masks": _masks,
    "patterns of patterns": _patterns,
    "a form drawn often": lambda: _draws(3_000, 100_000),
    "instructions drawn often": lambda: _deflated(_SQUARES * 200_000).replace(
        b"/Contents 4 0 R", b"/Contents[" + b"4 0 R " * 300 + b"]"
    ),
    "instructions as a picture": lambda: _deflated(
        _SQUARES * (40 * MB // 13), b"/Subtype/Image/Width 9/Height 9/Filter/FlateDecode"
    ),
    "slow letters": _glyphs,
    "slow function": lambda: _shading(
        b"/FunctionType 4/Domain[0 1 0 1]/Range[0 1 0 1 0 1]", b"{ " + b"dup mul " * 100_000 + b"}"
    ),
    "large mesh": lambda: _shading(_MESH, os.urandom(2_000_000)),
    "picture larger than it says": lambda: _denied_picture("JPEG", b"/Filter/DCTDecode", 12_000),
    "JPEG 2000": lambda: _denied_picture("JPEG2000", b"/Filter/JPXDecode", 5_000),
    "large table": _table,
    "small tiles": lambda: _tiles(b"1 0 0 1", b".01"),
    "shrunk tiles": lambda: _tiles(b".01 0 0 .01", b"1"),
    "slow shading": lambda: raw_pdf(b"/S sh " * 200_000, resources=_SHADING),
    "huge picture in a PDF": lambda: _picture_in_pdf(30_000, bytes(100 * MB)),
    "page of pages": lambda: raw_pdf(b"").replace(b"[3 0 R]/Count 1>>", b"[2 0 R]/Count 9>>"),
}
"""Each file by what is hostile in it."""
