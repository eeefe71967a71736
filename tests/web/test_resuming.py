"""wsserver.js against a server that does what is written here: what is resumed, what is lost, what is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.web.node import run

if TYPE_CHECKING:
    from tests.web.scripted import Peer

RESUMED: dict[str, Any] = {"resumed": True, "recovered": True}
LOST: dict[str, Any] = {"resumed": True, "recovered": False}


class TestResume:
    def test_nothing_is_lost_and_nothing_comes_twice(self) -> None:
        refs = []

        async def first(peer: Peer) -> None:
            assert peer.offered == ["wsserver.v1"]
            await peer.session()
            refs.append(await peer.taken(1, 1))
            await peer.tokens(1, 2, "a", "b")
            refs.append((await peer.hear("message"))["id"])  # and never acknowledged
            peer.cut()

        async def second(peer: Peer) -> None:
            assert peer.offered == ["wsserver.v1", "resume.s_1.secret.1.3"]
            await peer.session(**RESUMED, seq=4)
            await peer.tokens(1, 2, "a", "b", "c")
            await peer.complete(1, 5)
            assert await peer.taken(2, 6) == refs[1]
            await peer.tokens(2, 7, "d")
            await peer.complete(2, 8)
            await peer.gone()

        program = """
        const chat = open();
        const answer = chat.ask("first");
        await next(chat, "event", ({ seq }) => seq === 3);
        const other = chat.ask("second");
        show([await whole(answer), await whole(other), answer.turn, other.turn]);
        chat.close();
        """
        once = {"resets": 0, "end": "completed"}
        assert run(program, first, second) == [[{"text": "abc", **once}, {"text": "d", **once}, 1, 2]]
        assert len(set(refs)) == 2

    def test_a_start_acknowledges_too(self) -> None:
        async def first(peer: Peer) -> None:
            await peer.session()
            ref = (await peer.hear("message"))["id"]
            await peer.tell("start", {"ref": ref}, turn=1, seq=1)
            peer.cut()

        async def second(peer: Peer) -> None:
            await peer.session(**RESUMED)
            await peer.complete(1, 2)
            await peer.gone()

        program = """
        const chat = open();
        show(await whole(chat.ask("once")));
        chat.close();
        """
        assert run(program, first, second) == [{"text": "", "resets": 0, "end": "completed"}]

    def test_several_tokens_in_one(self) -> None:
        async def first(peer: Peer) -> None:
            await peer.session()
            await peer.taken(1, 1)
            await peer.tokens(1, 2, "a")
            peer.cut()

        async def second(peer: Peer) -> None:
            await peer.session(**RESUMED)
            await peer.tell("token", {"value": "bcd", "from_seq": 3}, turn=1, seq=5)
            await peer.complete(1, 6)
            await peer.gone()

        program = """
        const chat = open();
        show(await whole(chat.ask("?")));
        chat.close();
        """
        assert run(program, first, second) == [{"text": "abcd", "resets": 0, "end": "completed"}]

    def test_a_hole_is_asked_for(self) -> None:
        async def first(peer: Peer) -> None:
            await peer.session()
            await peer.taken(1, 1)
            await peer.tokens(1, 2, "a")
            await peer.tokens(1, 4, "c")
            await peer.gone()

        async def second(peer: Peer) -> None:
            assert peer.resume == "resume.s_1.secret.1.2"
            await peer.session(**RESUMED)
            await peer.tokens(1, 3, "b", "c")
            await peer.complete(1, 5)
            await peer.gone()

        program = """
        const chat = open();
        show(await whole(chat.ask("?")));
        chat.close();
        """
        assert run(program, first, second) == [{"text": "abc", "resets": 0, "end": "completed"}]

    def test_a_hole_that_stays_is_filled_from_the_history(self) -> None:
        async def first(peer: Peer) -> None:
            await peer.session()
            await peer.taken(1, 1)
            await peer.tokens(1, 3, "b")
            await peer.gone()

        async def second(peer: Peer) -> None:
            await peer.session(**RESUMED)
            await peer.tokens(1, 3, "b")
            await peer.hear("history")
            await peer.tokens(1, 4, "c")
            await peer.tell("history", {"items": [], "active": {"turn": 1, "text": "abc"}, "seq": 4})
            await peer.tokens(1, 5, "d")
            await peer.complete(1, 6)
            await peer.gone()

        program = """
        const chat = open();
        show(await whole(chat.ask("?")));
        chat.close();
        """
        assert run(program, first, second) == [{"text": "abcd", "resets": 1, "end": "completed"}]


class TestLoss:
    """The server no longer holds all that was missed, or nothing at all."""

    @staticmethod
    async def first(peer: Peer) -> None:
        await peer.session()
        for turn in range(1, 4):
            await peer.taken(turn)
        await peer.tell("start", {}, turn=1, seq=1)
        await peer.tokens(1, 2, "wr")
        peer.cut()

    ASK = """
    const chat = open();
    const answers = ["one", "two", "three"].map((content) => whole(chat.ask(content)));
    """

    def test_answers_become_what_the_history_says(self) -> None:
        async def second(peer: Peer) -> None:
            await peer.session(**LOST, seq=20)
            await peer.hear("history")
            await peer.tokens(2, 21, "not alone")  # comes before the history, and is in it
            items = [
                {"turn": 1, "role": "user", "content": "one", "status": "completed"},
                {"turn": 1, "role": "assistant", "content": "right", "status": "completed"},
                {"turn": 2, "role": "user", "content": "two", "status": "completed"},
            ]
            active = {"turn": 2, "text": "so far not alone"}
            await peer.tell("history", {"items": items, "active": active, "waiting": [3], "seq": 21})
            await peer.tokens(2, 22, ", and on")
            await peer.complete(2, 23)
            await peer.tell("start", {}, turn=3, seq=24)
            await peer.complete(3, 25, "stopped")
            await peer.gone()

        program = """
        show(await Promise.all(answers));
        chat.close();
        """
        assert run(self.ASK + program, self.first, second) == [
            [
                {"text": "right", "resets": 1, "end": "completed"},
                {"text": "so far not alone, and on", "resets": 1, "end": "completed"},
                {"text": "", "resets": 0, "end": "stopped"},
            ]
        ]

    def test_one_that_nobody_remembers_and_one_that_asks(self) -> None:
        """The first was stopped before it began; of the second's questions one is new."""
        ask = {"call_id": "c_1", "message": "Sure?", "schema": {}}

        async def first(peer: Peer) -> None:
            await peer.session()
            await peer.taken(1)
            await peer.taken(2, 1)
            await peer.tell("ask", ask, turn=2, seq=2)
            peer.cut()

        async def second(peer: Peer) -> None:
            await peer.session(**LOST, seq=20)
            await peer.hear("history")
            active = {"turn": 2, "text": "", "asks": [ask, {**ask, "call_id": "c_2"}]}
            await peer.tell("history", {"items": [], "active": active, "seq": 20})
            await peer.complete(2, 21)
            await peer.gone()

        program = """
        const chat = open();
        chat.addEventListener("event", ({ detail }) => detail.event === "ask" && show(detail.data.call_id));
        const [lost, asking] = await Promise.all([chat.ask("one"), chat.ask("two")].map(whole));
        show([lost.end, asking.end]);
        chat.close();
        """
        assert run(program, first, second) == ["c_1", "c_2", ["turn_lost", "completed"]]

    def test_an_answer_that_failed_meanwhile(self) -> None:
        async def second(peer: Peer) -> None:
            await peer.session(**LOST, seq=20)
            await peer.hear("history")
            items = [
                {"turn": 1, "role": "assistant", "content": "a part", "status": "failed"},
                {"turn": 2, "role": "assistant", "content": "", "status": "stopped"},
                {"turn": 3, "role": "assistant", "content": "", "status": "interrupted"},
            ]
            await peer.tell("history", {"items": items, "active": None, "seq": 20})
            await peer.gone()

        program = """
        show(await Promise.all(answers));
        chat.close();
        """
        [[failed, stopped, interrupted]] = run(self.ASK + program, self.first, second)
        assert failed == {"text": "a part", "resets": 1, "end": "generation_failed"}
        assert (stopped["end"], interrupted["end"]) == ("stopped", "interrupted")

    @pytest.mark.parametrize("ahead", [True, False])
    def test_an_answer_that_ends_beside_the_history(self, ahead: bool) -> None:
        """Whatever comes first, the answer is whole and ends once."""

        async def first(peer: Peer) -> None:
            await peer.session()
            await peer.taken(1, 1)
            await peer.tokens(1, 2, "wr")
            peer.cut()

        async def second(peer: Peer) -> None:
            await peer.session(**LOST, seq=20)
            await peer.hear("history")
            items = [{"turn": 1, "role": "assistant", "content": "right", "status": "completed"}]
            if not ahead:
                await peer.complete(1, 21)
            await peer.tell("history", {"items": items, "active": None, "seq": 21})
            if ahead:
                await peer.complete(1, 21)
            await peer.tell("parcel", {}, seq=22)
            await peer.gone()

        program = """
        const chat = open();
        let ends = 0;
        chat.addEventListener("event", ({ detail }) => detail.data.final && ends++);
        const parcel = next(chat, "event", ({ event }) => event === "parcel");
        show(await whole(chat.ask("?")));
        await parcel;
        show(ends);
        chat.close();
        """
        assert run(program, first, second) == [{"text": "right", "resets": 1, "end": "completed"}, 1]

    def test_a_history_that_is_refused_is_asked_for_again(self) -> None:
        async def second(peer: Peer) -> None:
            await peer.session(**LOST, seq=20)
            ref = (await peer.hear("history"))["id"]
            data = {"code": "rate_limited", "message": "", "retryable": True, "retry_after": 0.1, "ref": ref}
            await peer.tell("error", data)
            await peer.hear("history")
            items = [{"turn": n, "role": "assistant", "content": "x", "status": "completed"} for n in (1, 2, 3)]
            await peer.tell("history", {"items": items, "active": None, "seq": 20})
            await peer.gone()

        program = """
        show((await Promise.all(answers)).map(({ text }) => text));
        chat.close();
        """
        assert run(self.ASK + program, self.first, second) == [["x", "x", "x"]]

    def test_a_session_that_is_gone_fails_what_was_asked(self) -> None:
        program = """
        const cut = next(chat, "state", ({ state }) => state === "waiting");
        const stopped = cut.then(() => chat.stop()).catch((error) => error);
        const lost = await Promise.all(answers);
        const { code, retryable } = await stopped;
        show([lost.map(({ text, end }) => [text, end]), code, retryable, chat.sessionId]);
        chat.send("anew");
        await next(chat, "state", () => true);
        """

        async def gone(peer: Peer) -> None:
            await peer.session(name="s_2")
            assert (await peer.hear("message"))["data"] == {"content": "anew"}
            await peer.close(1000)

        lost = [["wr", "session_lost"], ["", "session_lost"], ["", "session_lost"]]
        assert run(self.ASK + program, self.first, gone) == [[lost, "session_lost", True, "s_2"]]

    def test_what_is_asked_before_the_first_session_is_sent_into_it(self) -> None:
        async def first(peer: Peer) -> None:
            peer.cut()

        async def second(peer: Peer) -> None:
            await peer.session()
            await peer.taken(1, 1)
            await peer.complete(1, 2)
            await peer.gone()

        program = """
        const chat = open();
        show((await whole(chat.ask("early"))).end);
        chat.close();
        """
        assert run(program, first, second) == ["completed"]

    def test_closed_for_good(self) -> None:
        async def close(peer: Peer) -> None:
            await peer.session()
            await peer.taken(1, 1)
            await peer.close(4502)

        program = """
        const chat = open();
        const history = next(chat, "state", ({ state }) => state === "open").then(() => chat.history());
        const [answer, refused] = await Promise.allSettled([whole(chat.ask("?")), history]);
        show([answer.value.end, refused.reason.code, (await chat.closed).reason]);
        try { chat.send("too late") } catch (error) { show(error instanceof ChatError && error.code) }
        """
        reason = "the conversation goes on over a newer connection"
        assert run(program, close) == [["closed", "closed", reason], "closed"]


class TestHistory:
    def test_it_may_be_ahead_of_the_log(self) -> None:
        """Text that it holds is not shown again; steps and sources, which it does not hold, are."""

        async def first(peer: Peer) -> None:
            await peer.session()
            await peer.taken(1, 1)
            await peer.tokens(1, 2, "a")
            await peer.hear("history")
            await peer.tell("history", {"items": [], "active": {"turn": 1, "text": "abc"}, "seq": 5})
            await peer.tokens(1, 3, "b")
            await peer.tell("source", {"title": "S"}, turn=1, seq=4)
            await peer.tokens(1, 5, "c", "d")
            await peer.complete(1, 7)
            await peer.gone()

        program = """
        const chat = open();
        chat.addEventListener("event", ({ detail }) => detail.event === "source" && show(detail.data));
        const answer = whole(chat.ask("?"));
        await next(chat, "event", ({ seq }) => seq === 2);
        show((await chat.history()).seq);
        show(await answer);
        chat.close();
        """
        shown = run(program, first)
        assert sorted(map(str, shown)) == sorted(
            map(str, [5, {"title": "S"}, {"text": "abcd", "resets": 1, "end": "completed"}])
        )

    def test_one_that_was_promised_is_asked_for_again(self) -> None:
        async def first(peer: Peer) -> None:
            await peer.session()
            await peer.tell("ack", {"ref": (await peer.hear("history"))["id"]})
            peer.cut()

        async def second(peer: Peer) -> None:
            await peer.session(**RESUMED)
            await peer.hear("history")
            await peer.tell("history", {"items": [], "active": None, "seq": 0})
            await peer.gone()

        program = """
        const chat = open();
        show(await chat.history());
        chat.close();
        """
        assert run(program, first, second) == [{"items": [], "active": None, "seq": 0}]


class TestStorage:
    @staticmethod
    async def first(peer: Peer) -> None:
        await peer.session()
        await peer.taken(1, 1)
        await peer.tokens(1, 2, "a")
        await peer.complete(1, 3)
        await peer.gone()

    PROGRAM = """
    const storage = new Store();
    const before = open({ storage, storageKey: "k" });
    await whole(before.ask("?"));
    before.close();
    """

    @pytest.mark.parametrize("replay, seq", [("false", 3), ("true", 0)])
    def test_a_page_that_is_loaded_again(self, replay: str, seq: int) -> None:
        async def second(peer: Peer) -> None:
            assert peer.resume == f"resume.s_1.secret.1.{seq}"
            await peer.session(**RESUMED, seq=3)
            await peer.hear("end")
            await peer.close(1000)

        program = f"""
        const after = open({{ storage, storageKey: "k", replay: {replay} }});
        await next(after, "state", ({{ state }}) => state === "open");
        const held = Object.keys(storage.held);
        await after.end();
        show([held, storage.held]);
        """
        assert run(self.PROGRAM + program, self.first, second) == [[["k"], {}]]

    def test_what_cannot_be_read_is_no_session(self) -> None:
        async def first(peer: Peer) -> None:
            assert peer.resume is None
            await peer.session()
            await peer.close(4506)

        program = """
        const storage = new Store();
        storage.held.wsserver = "{";
        storage.setItem = () => { throw new Error("full") };
        await open({ storage }).closed;
        show(storage.held);
        """
        assert run(program, first) == [{}]

    def test_a_server_without_resume(self) -> None:
        async def first(peer: Peer) -> None:
            await peer.session(resumable=False)
            peer.cut()

        async def second(peer: Peer) -> None:
            assert peer.resume is None
            await peer.close(1000)

        program = """
        const storage = new Store();
        await open({ storage }).closed;
        show(storage.held);
        """
        assert run(program, first, second) == [{}]


class TestRequests:
    def test_a_message_that_is_refused(self) -> None:
        async def first(peer: Peer) -> None:
            await peer.session()
            for _ in range(2):
                ref = (await peer.hear("message"))["id"]
                data = {"code": "rate_limited", "message": "slowly", "retryable": True, "retry_after": 2, "ref": ref}
                await peer.tell("error", {**data, "final": False})
            await peer.gone()

        program = """
        const chat = open();
        show((await whole(chat.ask("?"))).end);
        await chat.ask("?").text().next().catch(({ code, message, retryable, retryAfter }) =>
          show([code, message, retryable, retryAfter]));
        chat.close();
        """
        assert run(program, first) == ["rate_limited", ["rate_limited", "slowly", True, 2]]

    def test_a_message_that_is_too_big_is_not_sent(self) -> None:
        async def first(peer: Peer) -> None:
            await peer.session(max_message_size=200)
            await peer.taken(1, 1)
            await peer.complete(1, 2)
            await peer.gone()

        program = """
        const chat = open();
        show((await whole(chat.ask("界".repeat(100)))).end);
        show((await whole(chat.ask("x".repeat(80)))).end);
        chat.close();
        """
        assert run(program, first) == ["too_big", "completed"]

    def test_each_gets_its_own_answer(self) -> None:
        async def first(peer: Peer) -> None:
            await peer.session()
            stop, answer, other = [await peer.hear(name) for name in ("stop", "answer", "answer")]
            assert (stop["data"], answer["data"]) == ({"ref": "m"}, {"call_id": "c", "value": [1]})
            refused = {"code": "not_active", "message": "no", "retryable": False, "final": False}
            await peer.tell("error", {**refused, "ref": other["id"]})
            await peer.tell("error", {**refused, "ref": stop["id"]})
            await peer.tell("ack", {"ref": answer["id"]})
            await peer.gone()

        program = """
        const chat = open();
        show(await Promise.allSettled([chat.stop({ ref: "m" }), chat.answer("c", [1]), chat.answer("d", 1)])
          .then((all) => all.map(({ value, reason }) => reason?.code ?? value ?? null)));
        chat.close();
        """
        assert run(program, first) == [[False, None, "not_active"]]

    def test_text_is_whole_each_time_and_skips_what_nobody_saw(self) -> None:
        async def first(peer: Peer) -> None:
            await peer.session()
            await peer.taken(1, 1)
            await peer.tokens(1, 2, *"wrong")
            await peer.tell("reset", {"channel": "sources"}, turn=1, seq=7)
            await peer.tell("reset", {"channel": "answer"}, turn=1, seq=8)
            await peer.tokens(1, 9, *"right")
            await peer.complete(1, 14)
            await peer.tell("parcel", {"number": "7"}, seq=15)
            await peer.gone()

        program = """
        const chat = open();
        const answer = chat.ask("?");
        await next(chat, "event", ({ event }) => event === "parcel"); // pushed, of no turn
        const texts = [];
        for await (const text of answer.text()) texts.push(text);
        show(texts);
        chat.close();
        """
        assert run(program, first) == [["wrong", "right"]]
