"""PDF files: what they state, and whether they are safe to read and were read to their end.

May import the other formats, and what those may import.
Begin with `pdf`; `stream_check` looks at a file before PDFium does, `page_check` at what a page may show besides.
"""
