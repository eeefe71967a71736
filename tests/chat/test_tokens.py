"""Adjacent tokens: compact whenever that is, they are read as they were said."""

from __future__ import annotations

import pytest

from wsserver.chat.tokens import Run


@pytest.mark.parametrize("sizes", [[1, 2, 3], [255], [1, 256, 2], [0, 300, 300, 0], [100_000]])
@pytest.mark.parametrize("compacted", range(4))
def test_compact_at_any_time(sizes: list[int], compacted: int) -> None:
    values = [b"%d" % (size % 10) * size for size in sizes] * 2
    run = Run(5, b"template")
    for place, value in enumerate(values):
        run.values.append(value)
        if compacted and place % compacted == 0:
            run.compact()
    assert len(run) == len(values)
    for seq in range(4, 5 + len(values)):
        rest = values[seq - 4 :]
        assert run.since(seq) == rest
        assert run.written_after(seq) == sum(len(value) + len(b"template") for value in rest)
    run.compact()
    assert run.values == []
    assert run.since(4) == values
    assert run.written == run.written_after(4)
    assert run.joined(5, 10**9) == (len(values) - 1, b"".join(values[1:]))
