"""Who comes back to a session, what they get, and who may not."""

from __future__ import annotations

import asyncio

import pytest

from tests.clock import run_virtually
from tests.net.steps import Steps, begun, detached, flags, seqs, serve
from tests.peer import Peer, Refused, text_of
from wsserver import Config, Request, Server, SessionNotFound, User


class TestResume:
    def test_what_was_missed_comes_once_and_then_what_is_new(self) -> None:
        async def story(server: Server, steps: Steps) -> None:
            async with Peer.connect(server.urls[0]) as first:
                events = await begun(first, steps, 1)
            await detached(server)
            steps.let(1)
            async with Peer.connect(server.urls[0] + first.resume(2)) as second:
                assert flags(second) == {"resumed": True, "recovered": True, "seq": 3, "active_turn": 1}
                assert second.session["session_id"] == first.session["session_id"]
                events.append(await second.event("token"))
                assert (await second.event("replayed"))["data"] == {"count": 1, "seq": 3}
                steps.let(1)
                events += await second.turn()
            assert seqs(events) == [1, 2, 3, 4, 5]
            assert text_of(events) == "one two three"

        serve(story)

    @pytest.mark.parametrize("last_seq", range(6))
    def test_from_any_point(self, last_seq: int) -> None:
        async def story(server: Server, steps: Steps) -> None:
            async with Peer.connect(server.urls[0]) as first:
                events = await begun(first, steps, 1)
                steps.let(2)
                events += await first.turn()
            await detached(server)
            async with Peer.connect(server.urls[0] + first.resume(last_seq)) as second:
                assert flags(second) == {"resumed": True, "recovered": True, "seq": 5, "active_turn": None}
                assert [await second.event() for _ in range(5 - last_seq)] == events[last_seq:]
                replayed = await second.event("replayed")
                assert replayed["data"] == {"count": 5 - last_seq, "seq": 5}
                assert "seq" not in replayed

        serve(story)

    def test_the_subprotocol_carries_it_too_and_is_not_echoed(self) -> None:
        async def story(server: Server, steps: Steps) -> None:
            async with Peer.connect(server.urls[0]) as first:
                await begun(first, steps, 1)
            token = first.session["data"]["resume_token"]
            offer = f"Sec-WebSocket-Protocol: wsserver.v1, resume.{token}.1.1"
            async with Peer.connect(server.urls[0], offer) as second:
                assert second.session["data"]["recovered"] is True
                assert "Sec-WebSocket-Protocol: wsserver.v1\r\n" in second.head
                assert token not in second.head
                assert (await second.event())["data"] == {"value": "one "}

        serve(story)

    def test_the_token_stays_the_same(self) -> None:
        """Were it another one, and its frame lost, nobody could come back."""

        async def story(server: Server, steps: Steps) -> None:
            async with Peer.connect(server.urls[0]) as peer:
                token = peer.session["data"]["resume_token"]
            for _ in range(3):
                async with Peer.connect(server.urls[0] + peer.resume(0)) as again:
                    assert again.session["data"]["resume_token"] == token

        serve(story)

    def test_what_was_not_acknowledged_is_sent_again_and_makes_one_turn(self) -> None:
        async def story(server: Server, steps: Steps) -> None:
            async with Peer.connect(server.urls[0]) as first:
                await first.ask("go", id="m1")
            await detached(server)
            steps.let(3)
            await steps.ended.wait()
            async with Peer.connect(server.urls[0] + first.resume(0)) as second:
                await second.ask("go", id="m1")
                events = [await second.event() for _ in range(7)]
                assert text_of(events) == "one two three"
                [ack] = [event for event in events if event["event"] == "ack"]
                assert ack["data"] == {"ref": "m1", "turn": 1, "duplicate": True}
                await second.send({"event": "history"})
                assert (await second.event("history"))["data"]["seq"] == 5

        serve(story)

    @pytest.mark.parametrize(
        ("last_seq", "epoch"), [(3, 1), (2**62, 1), (2, 2), (2, 0)], ids=["beyond", "far beyond", "newer", "older"]
    )
    def test_a_position_that_is_not_of_this_history_is_not_recovered(self, last_seq: int, epoch: int) -> None:
        async def story(server: Server, steps: Steps) -> None:
            async with Peer.connect(server.urls[0]) as first:
                await begun(first, steps, 1)
            async with Peer.connect(server.urls[0] + first.resume(last_seq, epoch=epoch)) as second:
                assert flags(second) == {"resumed": True, "recovered": False, "seq": 2, "active_turn": 1}
                assert (await second.event("replayed"))["data"] == {"count": 0, "seq": 2}
                await second.send({"event": "history"})
                history = (await second.event("history"))["data"]
                assert history["active"] == {"turn": 1, "text": "one "}
                assert history["seq"] == 2
                steps.let(2)
                events = await second.turn()
                assert seqs(events) == [3, 4, 5]
                assert history["active"]["text"] + text_of(events) == "one two three"

        serve(story)

    def test_events_that_were_dropped_are_not_recovered(self) -> None:
        async def story(server: Server, steps: Steps) -> None:
            async with Peer.connect(server.urls[0]) as first:
                await begun(first, steps, 1)
                steps.let(2)
                await first.turn()
                await first.send({"event": "stop"})
                await first.event("error")
            log = server.sessions[first.session["session_id"]].log
            assert (log.start, log.head) == (5, 5)
            async with Peer.connect(server.urls[0] + first.resume(5)) as second:
                assert second.session["data"]["recovered"] is True
            async with Peer.connect(server.urls[0] + first.resume(4)) as second:
                assert second.session["data"]["recovered"] is False

        serve(story, max_log_size=0)

    @pytest.mark.parametrize(
        "query",
        [
            "resume=s.t&last_seq=-1",
            "resume=s.t&last_seq=x",
            "resume=s.t&epoch=",
            "resume=s.t&epoch=9e9",
        ],
    )
    def test_a_malformed_claim_is_refused(self, query: str) -> None:
        async def story(server: Server, steps: Steps) -> None:
            with pytest.raises(Refused) as caught:
                async with Peer.connect(f"{server.urls[0]}?{query}"):
                    pass
            assert caught.value.status == 400

        serve(story)


class TestWhoMayNotComeBack:
    @pytest.mark.parametrize("token", ["s_unknown.secret", "{id}.wrong", "{id}", "{id}."])
    def test_a_token_that_opens_nothing_gets_a_new_session(self, token: str) -> None:
        async def story(server: Server, steps: Steps) -> None:
            async with Peer.connect(server.urls[0]) as first:
                await begun(first, steps, 1)
                name = first.session["session_id"]
                query = "?resume=" + token.format(id=name) + "&last_seq=2"
                async with Peer.connect(server.urls[0] + query) as other:
                    assert flags(other) == {"resumed": False, "recovered": False, "seq": 0, "active_turn": None}
                    assert other.session["session_id"] != name
                    assert other.session["data"]["resume_token"].startswith(other.session["session_id"])
                steps.let(2)
                await first.turn()

        serve(story)

    def test_another_user(self) -> None:
        async def authenticate(request: Request) -> User | None:
            return User(request.headers["authorization"])

        async def main() -> None:
            async with Server(Steps(), Config(port=0), authenticate=authenticate) as server:
                async with Peer.connect(server.urls[0], "Authorization: ada") as ada:
                    pass
                async with Peer.connect(server.urls[0] + ada.resume(0), "Authorization: eve") as eve:
                    assert flags(eve)["resumed"] is False
                async with Peer.connect(server.urls[0] + ada.resume(0), "Authorization: ada") as again:
                    assert flags(again)["resumed"] is True

        run_virtually(main())

    def test_who_is_too_late(self) -> None:
        async def story(server: Server, steps: Steps) -> None:
            async with Peer.connect(server.urls[0]) as first:
                await begun(first, steps, 1)
            await asyncio.sleep(59)
            async with Peer.connect(server.urls[0] + first.resume(2)) as second:
                assert flags(second)["resumed"] is True
            await asyncio.sleep(61)
            assert steps.cause == "disconnected"
            with pytest.raises(SessionNotFound):
                server.sessions[first.session["session_id"]]
            async with Peer.connect(server.urls[0] + first.resume(2)) as third:
                assert flags(third)["resumed"] is False

        serve(story, resume_ttl=60)

    def test_whose_session_was_ended(self) -> None:
        async def story(server: Server, steps: Steps) -> None:
            async with Peer.connect(server.urls[0]) as first:
                await first.send({"event": "end"})
                assert await first.closed() == (1000, "ended")
            async with Peer.connect(server.urls[0] + first.resume(0)) as second:
                assert flags(second)["resumed"] is False

        serve(story)

    def test_without_a_resume_ttl_a_session_ends_with_its_connection(self) -> None:
        async def story(server: Server, steps: Steps) -> None:
            async with Peer.connect(server.urls[0]) as first:
                assert first.session["data"]["resumable"] is False
                await begun(first, steps, 1)
            await steps.ended.wait()
            assert steps.cause == "disconnected"
            assert not len(server.sessions)
            async with Peer.connect(server.urls[0] + first.resume(0)) as second:
                assert flags(second)["resumed"] is False

        serve(story, resume_ttl=0)


class TestTakeover:
    def test_the_older_connection_is_closed_with_4502(self) -> None:
        async def story(server: Server, steps: Steps) -> None:
            async with Peer.connect(server.urls[0]) as first:
                await begun(first, steps, 1)
                async with Peer.connect(server.urls[0] + first.resume(2)) as second:
                    assert flags(second)["recovered"] is True
                    assert await first.closed() == (4502, "taken over by a newer connection")
                    await first.ask("nobody hears this")
                    await second.event("replayed")
                    steps.let(2)
                    assert seqs(await second.turn()) == [3, 4, 5]
                    await second.send({"event": "history"})
                    assert len((await second.event("history"))["data"]["items"]) == 2

        serve(story)

    def test_the_loss_of_the_older_one_later_changes_nothing(self) -> None:
        async def story(server: Server, steps: Steps) -> None:
            async with Peer.connect(server.urls[0]) as first:
                await begun(first, steps, 1)
                async with Peer.connect(server.urls[0] + first.resume(2)) as second:
                    await second.event("replayed")
                    first.reset()
                    await asyncio.sleep(30)
                    steps.let(2)
                    assert text_of(await second.turn()) == "two three"

        serve(story, resume_ttl=10)

    def test_at_the_limit_of_its_address_the_newer_one_takes_the_place_of_the_older(self) -> None:
        async def story(server: Server, steps: Steps) -> None:
            async with Peer.connect(server.urls[0]) as first, Peer.connect(server.urls[0]):
                with pytest.raises(Refused) as caught:
                    async with Peer.connect(server.urls[0]):
                        """There is no place for a new session."""
                assert caught.value.status == 429
                async with Peer.connect(server.urls[0] + first.resume(0)) as newer:
                    assert newer.session["data"]["resumed"] is True
                    assert (await first.closed())[0] == 4502

        serve(story, max_connections_per_ip=2)

    def test_the_place_of_a_user_is_free_for_the_newer_one(self) -> None:
        async def authenticate(request: Request) -> User | None:
            return User("ada")

        async def main() -> None:
            config = Config(port=0, max_connections_per_user=1)
            async with Server(Steps(), config, authenticate=authenticate) as server:
                async with Peer.connect(server.urls[0]) as first:
                    with pytest.raises(Refused) as caught:
                        async with Peer.connect(server.urls[0]):
                            pass
                    assert caught.value.status == 429
                    async with Peer.connect(server.urls[0] + first.resume(0)) as second:
                        assert flags(second)["resumed"] is True
                        await first.closed()
                await server.sockets.emptied()
                assert not len(server.seats.users)

        run_virtually(main())
