"""The content of invoices: samples, their kinds, and the bodies of the answers about them.

Imports nothing else of `sandbox`. Start with `sample`.
"""

from ekb_async.sandbox.vendor.invoices.sample import SampleInvoice

__all__ = ["SampleInvoice"]
