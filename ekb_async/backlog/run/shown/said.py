"""What a run says of itself in the backlog, so that other programs can show it."""

from __future__ import annotations

import msgspec

from ekb_async.backlog.run.shown.waits import Wait


class Said(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The starts per second that a run may make, by kind of billed call, and what its calls wait for."""

    allowed: dict[str, float] = {}
    waits: tuple[Wait, ...] = ()

    def encode(self) -> str:
        """Return the text that the backlog keeps."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def decode(cls, text: str) -> Said:
        """Return what a text says; nothing if it is empty, or of a version that says it in another way."""
        try:
            return msgspec.json.decode(text, type=cls) if text else cls()
        except msgspec.DecodeError:
            return cls()
