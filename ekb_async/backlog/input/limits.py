"""Limits of what users add: of manifests and the columns in them."""

from __future__ import annotations

import msgspec

MB = 1 << 20


class InputLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a manifest is accepted, and how much of what is wrong in it is reported."""

    problems: int = 50
    """Malformed rows that are reported; reading ends with the last of them."""
    own_columns: int = 100
    own_heading_characters: int = 64
    own_value_characters: int = 32_000
    """Slightly fewer than a cell of a spreadsheet holds."""
    shown_columns: int = 10
    """Unknown columns that one message names."""
    heading_characters_read: int = 4_096
    """A longer heading is refused before it is looked at, because that takes time that grows with its square."""
    row_number_digits: int = 18
    """The longest number of a row that a list of rows has."""
    staff_code_characters: int = 64
    staff_characters_read: int = 320
    """A longer e-mail address or phone number is refused unread."""
    readings_kept: int = 1000
    """Files whose readings are kept while files are added, since copies of a file often follow one another."""
    header_rows: int = 20
    """Rows at the top of a sheet among which is its header."""
    searched_sheets: int = 50
    """Sheets in which a header is looked for."""
    sheet_name_characters: int = 255
    format_characters: int = 255
    sheet_columns: int = 1000
    """Columns among which are the names in a header."""
    columns_beside: int = 20
    """Columns after the last name in a header that must be empty; what is beyond them is not read."""
    cell_characters: int = 32_767
    """As many as a cell of a spreadsheet holds."""
    rows_at_once: int = 200
    workbook_bytes: int = 1 << 30
    """The size of the parts that are read of a workbook, when they are unpacked."""
    workbook_part_bytes: int = 128 * MB
    """The size of one of them: enough for a sheet of 300,000 rows with twelve columns."""
    workbook_elements: int = 500_000
    """Elements and attributes of a part that are in memory at the same time."""
    workbook_rows: int = 2_000_000
    """Rows, or texts that cells share."""
    workbook_token_bytes: int = 4 * MB
    entry_ratio: int = 200
    """Highest ratio of the size of an entry of a ZIP to its compressed size."""
    small_entry_bytes: int = 64 * 1024
    """Size up to which an entry may have any ratio."""
    archive_entries: int = 20_000
    archive_directory_bytes: int = 16 * MB
    archive_bytes: int = 5_000 * MB
    """The size of an archive when it is unpacked, with the archives in it."""
    inner_archive_bytes: int = 1_000 * MB
    """The size of an archive in another one."""
    archive_depth: int = 3
    """Archives inside one another, the first one included."""
    name_bytes: int = 200
    """The length of a name in a path, in UTF-8."""
    path_bytes: int = 1_000
    """The length of an entry's path."""
    name_characters_read: int = 1_000
    """Characters at the beginning of a name that decide its place, and that are shown."""
    left_out_kept: int = 1_000
    """Files left out that are reported by name; all are counted."""


LIMITS = InputLimits()
