"""The vendor on this machine: its calls, limits, lifetimes and errors, for demonstrations and tests."""

from __future__ import annotations

from ekb_async.sandbox.faults import Fault
from ekb_async.sandbox.invoices import SampleInvoice
from ekb_async.sandbox.server import LogEntry, Sandbox
from ekb_async.sandbox.vendor import Vendor, VendorReply, VendorRequest

__all__ = ["Fault", "LogEntry", "SampleInvoice", "Sandbox", "Vendor", "VendorReply", "VendorRequest"]
