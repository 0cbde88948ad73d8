"""Limits of reading: a file beyond them gives nothing, or what was found before."""

from __future__ import annotations

import msgspec

MB = 1 << 20


class ReadLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of one file, of its parts, and of the processes that read many."""

    file_bytes: int = 64 * MB
    """Largest file that is read."""
    idle_seconds: float = 1.0
    """Processor time after which reading stops, without the invoices found in it."""
    invoice_seconds: float = 0.3
    """Processor time that each invoice adds, to no more than `idle_seconds` from then on."""
    jpeg_scans: int = 500_000_000
    """Pixels of a JPEG times its scans, of which each is decoded at full size."""
    xml_bytes: int = 8 * MB
    xml_nodes: int = 50_000
    xml_depth: int = 60
    archive_entries: int = 500
    archive_depth: int = 2
    """ZIP archives inside one another; an OFD file is not counted."""
    entry_bytes: int = 64 * MB
    entry_ratio: int = 200
    """Highest ratio of an entry's size to its compressed size."""
    pdf_pages: int = 300
    pdf_attachments: int = 20
    pdf_objects: int = 20_000
    """Objects of a page that are counted."""
    pdf_annotations: int = 500
    pdf_stream_bytes: int = 48 * MB
    """Largest compressed stream of a PDF, decompressed: three times a full Chinese font."""
    pdf_content_bytes: int = 3 * MB
    """A stream of a PDF that may be drawing instructions, decompressed, and twice as much for all of them."""
    pdf_form_uses: int = 50_000
    """Most times that a PDF's nested forms can be drawn, as a product over the forms."""
    page_characters: int = 50_000
    pdf_object_bytes: int = 8 * MB
    """All that lies between the streams of a PDF."""
    pdf_ascii_bytes: int = 2 * MB
    """Largest stream in ASCII85 or hexadecimal digits."""
    pdf_drawn_bytes: int = 12 * MB
    """Drawing instructions of a PDF, as often as they may be drawn."""
    jpeg_2000_pixels: int = 12_000_000
    """Pixels of a picture in JPEG 2000, which takes most memory."""
    pdf_pattern_step: float = 1.0
    """Points from one tile of a pattern to the next, at least."""
    render_seconds: float = 0.6
    """Processor time for drawing a page."""
    page_pixels: int = 6_000_000
    """Pixels of a rendered page."""
    picture_pixels: int = 50_000_000
    """Pixels of a picture, or of one that a page shows; a JPEG of twice as many is decoded at a part of its size."""
    picture_bytes: int = 120_000_000
    """Size of a decoded picture."""
    picture_side: int = 2600
    """Longest side at which a picture is searched; pictures below the half are searched at twice their size as well."""
    tiff_pages: int = 50
    qr_characters: int = 1000
    qr_symbols: int = 60
    """Most QR codes of one picture that are parsed."""
    qr_corners: int = 700
    """Corners of QR codes that the rows looked at may cross; noise has up to about 500."""
    corner_rows: int = 16
    ofd_pictures: int = 8
    attempt_seconds: float = 20.0
    """Time after which a process that reads many files is ended, with the file it is at."""
    start_seconds: float = 60.0
    """Time in which such a process must have started."""
    stop_seconds: float = 2.0
    """Time in which such a process must have ended after it was asked to."""
    files_per_process: int = 5000
    """Files after which such a process is replaced, since foreign files may leak memory in the libraries."""
    files_to_a_process: int = 8
    """Files that wait for a process before another one is started."""
    simple_bytes: int = 16 * MB
    """Largest file that is looked at before a process is given it."""
    process_bytes: int = 2048 * MB
    """Address space of such a process, on systems that can limit it."""


LIMITS = ReadLimits()
