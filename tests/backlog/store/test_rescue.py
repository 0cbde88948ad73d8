"""The limit of answers held in memory in case their backlog file is lost."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

from ekb_async import OcrResult
from ekb_async.backlog.store.sqlite.rescue import Rescue
from ekb_async.backlog.store.values.calls import Call, CallResult, recorded


def test_large_answers_are_remembered_up_to_a_limit(tmp_path: Path) -> None:
    """Without checkpoints at most tens of megabytes of answers are held in memory, and earlier ones are counted."""
    rescue = Rescue()
    answer: OcrResult | None = None
    tracemalloc.start()
    try:
        for number in range(800):
            rescue.claimed("", [Call(number, f"ocr:{number}", 1, "ocr", "f", "", "", "", None, None, "m.csv", "[]")])
            answer = OcrResult.from_raw(b'{"value": {"invoices": [], "text": "%s"}}' % (b"x" * 200_000))
            rescue.ended([recorded(CallResult(number, "done", answer=answer))], number)
        answer = None
        assert tracemalloc.get_traced_memory()[0] < 60_000_000
    finally:
        tracemalloc.stop()
    saved, before = (int(line.split()[3]) for line in rescue.keep(tmp_path / "b.sqlite", file_is_lost=True))
    assert saved > 100
    assert saved + before == 800
