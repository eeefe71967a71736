"""What events look like in a terminal."""

from __future__ import annotations

from typing import Any

import pytest

from wsserver.client import Event
from wsserver.client.screen import Screen, aside, clean, one_line


def shown(*events: tuple[str, dict[str, Any]], colour: bool = False) -> str:
    written: list[str] = []
    screen = Screen(written.append, colour=colour)
    for name, data in events:
        screen.show(Event(name, data))
    return "".join(written)


def test_tokens_are_put_together_as_they_are() -> None:
    assert shown(("token", {"value": "您"}), ("token", {"value": "好\n\t!"}), ("token", {})) == "您好\n\t!"


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("\x1b[31mred\x1b[0m", "[31mred[0m"),
        ("\x9b31m\x9d0;title\x07", "31m0;title"),
        ("a\rb\x08c\x7f\x00", "abc"),
        ("kept:\n\t ü€😀", "kept:\n\t ü€😀"),
    ],
)
def test_control_characters_never_reach_the_terminal(text: str, rest: str) -> None:
    assert clean(text) == rest
    data = {"value": text, "message": text, "name": text, "title": text, "url": text, "error": text, "status": text}
    everything = [(name, data) for name in ("token", "tool", "source", "status", "reset", "complete", "error")]
    output = shown(*everything)
    assert not {ord(char) for char in output} & ({*range(0x20), *range(0x7F, 0xA0)} - {0x09, 0x0A})


def test_a_line_is_one_line() -> None:
    assert one_line(" a\n\tb\r\n c ") == "a b c"
    assert one_line(None) == "None"


def test_the_steps_of_a_tool() -> None:
    assert shown(
        ("token", {"value": "so"}),
        ("tool", {"name": "orders", "status": "started", "message": "正在查询您的订单…"}),
        ("tool", {"name": "orders", "status": "progress", "message": "half\nway"}),
        ("tool", {"name": "orders", "status": "finished", "message": "found"}),
        ("tool", {"name": "orders", "status": "failed", "error": "no luck"}),
        ("tool", {"name": "orders", "status": "finished"}),
        ("tool", {}),
    ) == ("so\n· orders: 正在查询您的订单…\n· orders: half way\n✓ orders: found\n✗ orders: no luck\n✓ orders\n· \n")


def test_sources_are_listed_after_the_answer() -> None:
    assert shown(
        ("source", {"title": "One", "score": 0.826, "url": "https://one.example/"}),
        ("source", {"text": "long " * 100, "score": "odd"}),
        ("source", {"url": "https://three.example/"}),
        ("source", {}),
        ("token", {"value": "the answer"}),
        ("complete", {"final": True, "status": "completed"}),
        ("complete", {"final": True, "status": "completed"}),
    ).split("\n") == [
        "the answer",
        "",
        "[1] One (0.83) https://one.example/",
        f"[2] {'long ' * 40}",
        "[3] https://three.example/",
        "[4] a source",
        "",
    ]


def test_a_reset_takes_back_what_was_shown() -> None:
    assert (
        shown(
            ("source", {"title": "wrong"}),
            ("reset", {"channel": "sources"}),
            ("token", {"value": "wrong"}),
            ("reset", {"channel": "answer"}),
            ("complete", {"status": "completed"}),
        )
        == "wrong\n[this is withdrawn, the answer begins anew]\n"
    )


def test_how_an_answer_ends() -> None:
    assert shown(("token", {"value": "so f"}), ("complete", {"status": "stopped"})) == "so f\n[stopped]\n"
    assert shown(("complete", {"status": "interrupted"})) == "[interrupted]\n"
    assert (
        shown(("error", {"code": "x", "message": "it broke", "retryable": True})) == "✗ it broke (you can ask again)\n"
    )
    assert shown(("error", {"code": "x"})) == "✗ x\n"


def test_status_and_what_is_unknown() -> None:
    assert shown(("status", {"message": "thinking"}), ("start", {}), ("news", {"value": 1})) == "… thinking\n"


def test_colours_are_ours_alone() -> None:
    assert shown(("status", {"message": "\x1b[5mx"}), colour=True) == "\x1b[2m… [5mx\x1b[0m\n"
    written: list[str] = []
    screen = Screen(written.append, colour=True)
    screen.prompt()
    screen.disturbed()
    screen.prompt()
    assert "".join(written) == "\x1b[1m>\x1b[0m \n\x1b[1m>\x1b[0m "


def test_what_a_turn_asks() -> None:
    assert shown(
        ("ask", {"message": "sure\n?", "schema": {"type": "boolean"}}),
        ("ask", {"message": "which?", "schema": {"enum": ["a\x1b[0m", 2]}}),
        ("ask", {"message": "name?", "schema": {}}),
        ("ask", {"schema": "odd"}),
    ).split("\n") == [
        "? sure ? (yes or no)",
        "? which? (a number of the list, or its text)",
        "  1) a[0m",
        "  2) 2",
        "? name?",
        "? ",
        "",
    ]


def test_what_was_missed_is_said() -> None:
    assert (
        shown(
            ("token", {"value": "one"}),
            ("gap", {"from_seq": 2, "seq": 9}),
            ("token", {"value": "two", "truncated": True}),
        )
        == "one\n[some steps of this answer were missed]\ntwo\n[a part of this answer is missing]\n"
    )


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (Event("reconnecting", {"code": 1006, "reason": ""}), "… reconnecting"),
        (Event("session", {"resumed": True}), "connected again"),
        (Event("session", {"resumed": False}), "connected again, in a new conversation"),
        (Event("auth_expiring", {"expires_in": 30}), "your login ends in 30 s"),
        (Event("news", {"message": "a\n\x1b[31mb"}), "• news: a [31mb"),
        (Event("news", {"text": "t"}), "• news: t"),
        (Event("n\x07", {"größe": 1}), '• n: {"größe": 1}'),
        (Event("news", {"message": "x" * 500}), f"• news: {'x' * 200}"),
        (Event("token", {"value": "of another"}, turn=3), None),
        (Event("drain", {"reconnect_in": 1}), None),
        (Event("gap", {"dropped": 1}), None),
    ],
)
def test_what_belongs_to_no_question(event: Event, line: str | None) -> None:
    assert aside(event) == line
