"""What was asked of the server and is not answered yet."""

from __future__ import annotations

from wsserver.client.outbox import Outbox, Request


def outbox(*requests: tuple[str, str]) -> Outbox:
    """Names of events under their refs; "stop*" is one of all."""
    made = Outbox()
    for ref, name in requests:
        made.add(Request(ref, name.rstrip("*"), "{}", lambda result: None, for_all=name.endswith("*")))
    return made


def due(made: Outbox) -> list[str]:
    return [request.ref for request in made.due()]


def test_each_is_sent_once_on_a_connection() -> None:
    made = outbox(("1", "message"), ("2", "history"))
    assert (due(made), due(made)) == (["1", "2"], [])
    made.disconnected()
    assert due(made) == ["1", "2"]
    request = made.find("1")
    assert request is not None and request.copies == 2


def test_no_message_overtakes_a_stop_of_all() -> None:
    made = outbox(("1", "message"), ("2", "stop*"), ("3", "message"), ("4", "answer"))
    assert due(made) == ["1", "2", "4"]
    stop = made.find("2")
    assert stop is not None
    made.remove(stop)
    assert due(made) == ["3"]


def test_a_stop_of_one_turn_holds_no_message_back() -> None:
    assert due(outbox(("1", "stop"), ("2", "message"))) == ["1", "2"]


def test_the_oldest_of_a_name_is_the_first() -> None:
    made = outbox(("1", "message"), ("2", "history"), ("3", "history"))
    first = made.first("history")
    assert first is not None and first.ref == "2"
    assert [request.ref for request in made.clear()] == ["1", "2", "3"]
    assert (made.find("1"), made.first("history")) == (None, None)
