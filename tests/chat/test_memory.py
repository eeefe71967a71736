"""What a session that is used remembers."""

from __future__ import annotations

from wsserver import Config
from wsserver.chat.memory import REMEMBERED_IDS, Memory
from wsserver.chat.pool import Pool


def test_the_oldest_id_of_a_message_is_forgotten() -> None:
    memory = Memory(Config(), Pool(0))
    for turn in range(REMEMBERED_IDS + 1):
        memory.remember(f"m{turn}", turn)
    assert len(memory.taken) == REMEMBERED_IDS
    assert "m0" not in memory.taken
    assert (memory.taken["m1"], memory.taken[f"m{REMEMBERED_IDS}"]) == (1, REMEMBERED_IDS)


def test_an_id_that_is_taken_again_drives_none_out() -> None:
    memory = Memory(Config(), Pool(0))
    for turn in range(REMEMBERED_IDS):
        memory.remember(f"m{turn}", turn)
    memory.remember("m7", 999)
    assert (len(memory.taken), memory.taken["m0"], memory.taken["m7"]) == (REMEMBERED_IDS, 0, 999)
