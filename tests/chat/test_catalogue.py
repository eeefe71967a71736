"""The table of all events; the document made from it is tested in `tests/test_asyncapi.py`."""

from __future__ import annotations

from wsserver.chat import envelope
from wsserver.chat.catalogue import HEARD, SENT
from wsserver.chat.events import RESERVED


def test_its_names_are_those_that_applications_may_not_use() -> None:
    assert {sent.event for sent in SENT} | {kind.event for kind in HEARD} == RESERVED  # type: ignore[attr-defined]


def test_what_a_client_may_ask_is_what_is_read() -> None:
    for kind in HEARD:
        name = kind.event  # type: ignore[attr-defined]
        data = {"content": 1, "call_id": "c", "value": 1, "token": "t"}
        assert type(envelope.decode_event(envelope.encode_value({"event": name, "data": data}))) is kind
    assert len(HEARD) == len(envelope._CLIENT_EVENTS)


def test_every_class_says_what_it_is() -> None:
    for kind in (*HEARD, *(sent.data for sent in SENT)):
        assert (kind.__doc__ or "").strip().endswith("."), kind


def test_what_is_kept_or_not_belongs_together() -> None:
    """Only what belongs to a turn is kept, but for the application's own."""
    assert all(sent.turn for sent in SENT if sent.kept)
