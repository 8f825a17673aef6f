"""A run that is interrupted in the middle of its training."""

from __future__ import annotations

import pytest

from pipeline.training import trainer


def in_epoch(number: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The ``number``-th epoch from here on (1 is the first) ends as Ctrl-C ends it; the list grows by one an epoch."""
    one_epoch = trainer.train_epoch
    calls: list[int] = []

    def interrupted(*given, **named):
        calls.append(len(calls) + 1)
        if calls[-1] == number:
            raise KeyboardInterrupt
        return one_epoch(*given, **named)

    monkeypatch.setattr(trainer, "train_epoch", interrupted)
    return calls
