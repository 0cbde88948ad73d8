"""The formats of invoice files: each module returns the evidence in one of them.

May import the values, identities and limits of `einvoice`, and what those may import.
Begin with `xml_invoice`, then `ofd` and `pdf_files`; `sniff` says which format a file has.
"""
