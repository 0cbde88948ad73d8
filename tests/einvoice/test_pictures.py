"""Photos and scans: turned, small, noisy, transparent, in several formats."""

from __future__ import annotations

import io

import pytest
from PIL import Image, ImageFilter

from ekb_async.einvoice import examine, read
from tests.support.invoice_files import DIGITAL_QR, NUMBER, OLD_QR, encoded, qr_image, sample


def on_a_page(code: Image.Image) -> Image.Image:
    """Return a page of a photo's size with the code on it."""
    page = Image.new("L", (1600, 1100), 235)
    page.paste(code, (120, 110))
    return page


@pytest.mark.parametrize("angle", [0, 13, 30, 38, 45, 60, 90, 135, 200, 315])
def test_turned_photos(angle: int) -> None:
    """A code is read at any angle."""
    photo = on_a_page(qr_image(DIGITAL_QR, module=5)).rotate(angle, expand=True, fillcolor=200)
    assert [each.identity for each in read(encoded(photo, "JPEG"))] == [NUMBER]


@pytest.mark.parametrize("module", [2, 3])
def test_small_codes(module: int) -> None:
    """Two pixels for a module are enough, blurred ones as well at three."""
    photo = on_a_page(qr_image(DIGITAL_QR, module=module)).filter(ImageFilter.GaussianBlur(0.3 * module))
    assert [each.identity for each in read(encoded(photo, "JPEG"))] == [NUMBER]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_formats(kind: str, mode: str) -> None:
    """All usual formats are read, under any name."""
    picture = encoded(qr_image(DIGITAL_QR).convert(mode), kind)
    assert [each.identity for each in read(picture, name="x.pdf")] == [NUMBER]


def test_sixteen_bits() -> None:
    """A scan with 16 bits for a pixel is read."""
    gray = qr_image(DIGITAL_QR)
    deep = Image.new("I;16", gray.size)
    deep.putdata([value * 256 for value in gray.tobytes()])
    assert [each.identity for each in read(encoded(deep, "TIFF"))] == [NUMBER]


def test_pages_of_a_scan() -> None:
    """Each page of a TIFF is read."""
    pages = [qr_image(text).convert("1") for text in (DIGITAL_QR, "https://example.com/", OLD_QR)]
    scan = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    assert [each.identity for each in read(scan)] == [NUMBER, "099002400111-00000017"]


def test_what_is_transparent_is_white() -> None:
    """A code in black on nothing is read."""
    gray = qr_image(DIGITAL_QR)
    picture = Image.new("RGBA", gray.size, (0, 0, 0, 0))
    picture.putalpha(gray.point(lambda value: 255 - value))
    assert [each.identity for each in read(encoded(picture))] == [NUMBER]


@pytest.mark.parametrize("turn", list(Image.Transpose))
def test_exif_orientation(turn: Image.Transpose) -> None:
    """A photo that is stored turned or mirrored is read, whatever its EXIF data say of that."""
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = on_a_page(qr_image(DIGITAL_QR, module=4)).transpose(turn)
    for more in ({}, {"exif": exif}):
        assert [each.identity for each in read(encoded(stored, "JPEG", **more))] == [NUMBER]


def test_several_codes_in_a_photo() -> None:
    """Two invoices on a photo are two; an advertisement is none."""
    photo = encoded(qr_image(DIGITAL_QR, "https://example.com/", OLD_QR))
    assert {each.identity for each in read(photo)} == {NUMBER, "099002400111-00000017"}


def test_a_heic_photo_under_a_jpeg_name() -> None:
    """Phones name HEIC photos `.jpg`; the content decides."""
    pytest.importorskip("pi_heif")
    assert [each.identity for each in read(sample("photo.heic"), name="IMG_0001.jpg")] == [NUMBER]


def test_an_unreadable_photo_says_nothing() -> None:
    """Noise is no invoice: rather nothing than a wrong number."""
    assert read(sample("digital_photo_unreadable.jpg")) == []


def test_a_cut_off_photo() -> None:
    """Half a file gives nothing, or the right number."""
    photo = sample("digital_photo_7deg.jpg")
    assert {each.identity for each in read(photo[: len(photo) // 2])} <= {NUMBER}


def test_a_jpeg_without_its_end() -> None:
    """Some devices leave the marker out; a photo that lacks its last rows as well is damaged."""
    photo = sample("digital_photo_7deg.jpg")
    assert examine(photo.removesuffix(b"\xff\xd9")).certain == (NUMBER,)
    assert examine(photo[: len(photo) * 95 // 100]).problem == "the picture is damaged"


def test_the_size_of_a_picture_is_limited() -> None:
    """A picture that would fill the memory is not decoded."""
    target = io.BytesIO()
    Image.new("1", (8_000, 8_000)).save(target, "PNG")
    assert read(target.getvalue()) == []
