"""The chat page in a real browser, served by the real server, over a network that fails."""

from __future__ import annotations

import asyncio
import re
import shutil
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from playwright.async_api import async_playwright, expect

from tests.web.scripted import Network
from wsserver import Config, Custom, Server, Source, Status, Turn, TurnError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

    from playwright.async_api import Browser, Page

    from wsserver.chat.view import SessionView
    from wsserver.net.house import OnOpen
    from wsserver.wire.handshake import Request

CHROMIUM = "/usr/bin/chromium"
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()

pytestmark = pytest.mark.browser

#: What the browser itself says of a network that is cut, as it is here.
LOSSES = ("ERR_CONNECTION_", "ERR_EMPTY", "closed before receiving a handshake response")

#: Notes what the policy of the page would not let happen.
WATCH = "addEventListener('securitypolicyviolation', (event) => console.error(`refused: ${event.violatedDirective}`));"


class Chromium(NamedTuple):
    browser: Browser
    run: Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    if shutil.which(CHROMIUM) is None:
        pytest.skip(f"needs {CHROMIUM}, Debian's package chromium")
    with asyncio.Runner() as runner:
        playwright = runner.run(async_playwright().start())
        browser = runner.run(playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS))
        try:
            yield Chromium(browser, runner.run)
        finally:
            runner.run(browser.close())
            runner.run(playwright.stop())


class Stage(NamedTuple):
    page: Page
    server: Server
    network: Network
    errors: list[str]

    async def say(self, text: str) -> None:
        await self.page.get_by_label("Your message").fill(text)
        await self.page.keyboard.press("Enter")

    async def shows(self, selector: str, text: str | re.Pattern[str]) -> None:
        await expect(self.page.locator(selector).last).to_have_text(text)


@asynccontextmanager
async def stage(
    chromium: Chromium,
    generate: Any,
    config: Config | None = None,
    script: str = "",
    on_open: OnOpen | None = None,
    **context: Any,
) -> AsyncIterator[Stage]:
    """The page, open in a browser of its own, `script` run before it. No error may be on its console at the end."""
    errors: list[str] = []
    async with (
        Server(generate, config or Config(port=0), on_open=on_open) as server,
        Network.before(server.urls[0]) as network,
    ):
        private = await chromium.browser.new_context(**context)
        private.set_default_timeout(10_000)
        await private.add_init_script(WATCH + script)
        page = await private.new_page()
        page.on("console", lambda said: errors.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda asked: None if asked.url.startswith(network.origin) else errors.append(asked.url))
        try:
            await page.goto(network.origin)
            yield Stage(page, server, network, errors)
        finally:
            await private.close()
        # The browser says by itself when nobody is there.
        assert [error for error in errors if not any(loss in error for loss in LOSSES)] == []


class Pieces:
    """A callback that says what the test puts in, when it puts it in; None ends the answer."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Any] = asyncio.Queue()

    def put(self, *items: Any) -> None:
        for item in items:
            self.queue.put_nowait(item)

    async def __call__(self, turn: Turn) -> None:
        while (item := await self.queue.get()) is not None:
            await turn.send(item)


async def repeat(turn: Turn) -> AsyncIterator[str]:
    yield f"You said {turn.content}"


def test_the_module_as_in_the_readme(chromium: Chromium) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    [code] = re.findall(r"<!-- test: javascript -->\n```js\n(.*?)```", readme, re.S)
    imported = code.replace('import { Chat } from "/wsserver.js"', 'const { Chat } = await import("/wsserver.js")')
    assert imported != code

    async def main() -> None:
        async with stage(chromium, repeat) as on:
            await on.page.evaluate("document.body.append(document.createElement('output'))")
            await on.page.evaluate(f"async () => {{ {imported} }}")
            await on.shows("output", "You said How do I stop an answer?")

    chromium.run(main())


def test_tokens_appear_one_by_one_until_stopped(chromium: Chromium) -> None:
    async def main() -> None:
        pieces = Pieces()
        async with stage(chromium, pieces) as on:
            await expect(on.page.get_by_role("button", name="Send")).to_be_disabled()
            await expect(on.page.get_by_role("button", name="Stop")).to_be_hidden()
            await on.say("Tell me")
            await on.shows(".said", "Tell me")
            for so_far in ("one", "one two", "one two three"):
                pieces.put(so_far.split()[-1] + " ")
                await on.shows(".text", so_far + " ")
            await on.page.get_by_role("button", name="Stop").click()
            await on.shows(".note", "Stopped")
            await on.shows(".text", "one two three ")
            await expect(on.page.get_by_role("button", name="Stop")).to_be_hidden()
            await expect(on.page.get_by_label("Your message")).to_be_focused()

    chromium.run(main())


def test_steps_status_and_sources(chromium: Chromium) -> None:
    async def main() -> None:
        pieces = Pieces()

        async def generate(turn: Turn) -> None:
            async with turn.tool("search", "Searching …", input={"query": "refund"}) as tool:
                await pieces(turn)
                tool.finish("2 found", output=["a", "b"])
            async with turn.tool("orders") as tool:
                tool.fail("nobody answers")
            await pieces(turn)

        async with stage(chromium, generate) as on:
            await on.say("?")
            step = on.page.locator(".step").first
            await expect(step).to_have_attribute("data-state", "running")
            await expect(step).to_contain_text("searchSearching …")
            pieces.put(None)
            await expect(step).to_have_attribute("data-state", "done")
            await expect(step.locator("dl")).to_be_hidden()
            await step.locator("summary").click()
            await expect(step.locator("dd")).to_have_text(['{\n  "query": "refund"\n}', '[\n  "a",\n  "b"\n]'])
            await expect(on.page.locator(".step").last).to_have_attribute("data-state", "failed")
            await expect(on.page.locator(".step").last).to_contain_text("nobody answers")
            pieces.put(Status("Thinking hard"))
            await on.shows(".status", "Thinking hard")
            pieces.put("An **answer**, `so` far.\n\n- one\n- two\n\n```\n<b>\n```")
            await expect(on.page.locator(".text strong")).to_have_text("answer")
            await expect(on.page.locator(".text li")).to_have_text(["one", "two"])
            await expect(on.page.locator(".text pre")).to_have_text("<b>")
            await expect(on.page.locator(".status")).to_be_hidden()
            pieces.put(Source("A page", "Its text", "https://example.org/x", 0.8765))
            pieces.put(Source(url="file:///etc/passwd"), None)
            sources = on.page.locator(".sources li")
            await expect(sources.first.get_by_role("link")).to_have_attribute("href", "https://example.org/x")
            await expect(sources.first.get_by_role("link")).to_have_attribute("rel", re.compile("noopener"))
            await expect(sources.first.locator(".score")).to_have_text("0.88")
            await expect(sources.last.locator(".title")).to_have_text("file:///etc/passwd")
            await expect(sources.last.get_by_role("link")).to_have_count(0)

    chromium.run(main())


def test_questions(chromium: Chromium) -> None:
    answers: list[Any] = []
    number = {"type": "integer", "minimum": 2}
    schemas = ({"type": "boolean"}, {"enum": ["red", "green"]}, number, {"type": "string"}, {"type": "array"})

    async def generate(turn: Turn) -> AsyncIterator[str]:
        for schema in schemas:
            answers.append(await turn.ask(f"Number {len(answers)}?", schema))
        await turn.ask("The last one?")
        yield "never"

    async def main() -> None:
        async with stage(chromium, generate) as on:
            await on.say("?")
            ask = on.page.locator(".ask")
            await expect(ask.last.locator(".question")).to_have_text("Number 0?")
            await ask.last.get_by_role("button", name="No").click()
            await expect(ask.first.locator(".outcome")).to_have_text("You answered: No")
            await ask.nth(1).get_by_role("button", name="green").click()
            await ask.nth(2).get_by_role("spinbutton").fill("1")
            await ask.nth(2).get_by_role("button", name="Answer").click()
            await expect(ask.nth(2).locator(".outcome")).to_have_text("")
            await ask.nth(2).get_by_role("spinbutton").fill("7")
            await on.page.keyboard.press("Enter")
            await ask.nth(3).get_by_role("textbox").fill("some text")
            await ask.nth(3).get_by_role("button", name="Answer").click()
            await ask.nth(4).get_by_role("textbox").fill("[1")
            await ask.nth(4).get_by_role("button", name="Answer").click()
            await ask.nth(4).get_by_role("textbox").fill("[1]")
            await ask.nth(4).get_by_role("button", name="Answer").click()
            await expect(ask.nth(5).get_by_role("textbox")).to_be_visible()
            await on.page.reload()
            # What was answered is no question any more; what was not still is.
            await expect(ask.nth(5).get_by_role("textbox")).to_be_visible()
            await expect(on.page.locator(".ask fieldset:visible")).to_have_count(1)
            await on.page.keyboard.press("Escape")
            await expect(on.page.locator(".ask fieldset:visible")).to_have_count(0)

    chromium.run(main())
    assert answers == [False, "green", 7, "some text", [1]]


def test_what_waits_can_be_cancelled(chromium: Chromium) -> None:
    async def main() -> None:
        pieces = Pieces()
        async with stage(chromium, pieces) as on:
            await on.say("first")
            pieces.put("answer")
            await on.shows(".text", "answer")
            await on.say("second")
            await on.say("third")
            turns = on.page.locator(".turn")
            await expect(turns.nth(1).locator(".queued")).to_contain_text("Waiting")
            await turns.nth(1).get_by_role("button", name="Cancel").click()
            await expect(turns.nth(1).locator(".note")).to_have_text("Stopped")
            await expect(turns.nth(2).locator(".queued")).to_contain_text("Waiting")
            await on.page.keyboard.press("Escape")
            await expect(turns.nth(0).locator(".note")).to_have_text("Stopped")
            pieces.put("more", None)
            await expect(turns.nth(2).locator(".text")).to_have_text("more")
            await expect(turns.nth(2).locator(".queued")).to_be_hidden()

    chromium.run(main())


def test_a_cut_network_and_the_answer_goes_on(chromium: Chromium) -> None:
    async def main() -> None:
        pieces = Pieces()
        # It would wait for ever, were it not asked to come.
        async with stage(chromium, pieces, script="Math.random = () => 1000") as on:
            banner = on.page.locator("#banner")
            await on.say("?")
            pieces.put("before ")
            await on.shows(".text", "before ")
            await expect(banner).to_be_hidden()
            on.network.down = True
            on.network.cut()
            await expect(banner).to_contain_text("Reconnecting…")
            pieces.put("meanwhile ")
            await on.say("said while away")
            await expect(on.page.locator(".queued").last).to_contain_text("Not sent yet")
            on.network.down = False
            await on.page.get_by_role("button", name="Try now").click()
            await expect(banner).to_be_hidden()
            await on.shows(".turn:first-child .text", "before meanwhile ")
            pieces.put("after", None, "the other", None)
            await on.shows(".turn:first-child .text", "before meanwhile after")
            await on.shows(".turn:last-child .text", "the other")
            await expect(on.page.locator(".turn")).to_have_count(2)

    chromium.run(main())


def test_a_reload_shows_the_conversation(chromium: Chromium) -> None:
    async def main() -> None:
        pieces = Pieces()

        async def generate(turn: Turn) -> None:
            async with turn.tool("search", "done"):
                await pieces(turn)

        async with stage(chromium, generate) as on:
            await on.say("first")
            pieces.put("whole", Source("S"), None)
            await on.shows(".sources .title", "S")
            await on.say("second")
            pieces.put("so far")
            await on.shows(".text", "so far")
            await on.page.reload()
            turns = on.page.locator(".turn")
            await expect(turns.locator(".said")).to_have_text(["first", "second"])
            await expect(turns.locator(".text")).to_have_text(["whole", "so far"])
            await expect(turns.nth(0).locator(".sources .title")).to_have_text("S")
            await expect(turns.nth(0).locator(".step")).to_have_attribute("data-state", "done")
            await expect(turns.nth(1).locator(".step")).to_have_attribute("data-state", "running")
            await expect(on.page.get_by_role("button", name="Stop")).to_be_visible()
            pieces.put(", and on", None)
            await expect(turns.locator(".text")).to_have_text(["whole", "so far, and on"])
            await on.page.get_by_role("button", name="New conversation").click()
            await expect(turns).to_have_count(0)
            await expect(on.page.get_by_role("heading", name="What would you like to know?")).to_be_visible()
            await on.say("anew")
            pieces.put("x", None)
            await on.shows(".text", "x")
            await expect(turns).to_have_count(1)

    chromium.run(main())


def test_a_reload_when_the_log_no_longer_reaches_back(chromium: Chromium) -> None:
    async def main() -> None:
        pieces = Pieces()
        async with stage(chromium, pieces, Config(port=0, max_log_size=0)) as on:
            await on.say("first")
            pieces.put("whole", Custom("parcel", {"message": "on its way"}), None)
            await on.shows(".text", "whole")
            await on.shows(".quiet", "parcel: on its way")
            await on.say("second")
            pieces.put("so ", Custom("parcel", {"number": 7}), "far")
            await on.shows(".text", "so far")
            await on.page.reload()
            await expect(on.page.locator(".said")).to_have_text(["first", "second"])
            await expect(on.page.locator(".text")).to_have_text(["whole", "so far"])
            pieces.put(" and on", None)
            await expect(on.page.locator(".text")).to_have_text(["whole", "so far and on"])

    chromium.run(main())


def test_a_reload_while_a_message_waits(chromium: Chromium) -> None:
    async def main() -> None:
        pieces = Pieces()
        async with stage(chromium, pieces) as on:
            await on.say("first")
            pieces.put("answer")
            await on.shows(".text", "answer")
            await on.say("second")
            await on.say("third")
            await expect(on.page.locator(".queued:visible")).to_have_count(2)
            await on.page.reload()
            turns = on.page.locator(".turn")
            await expect(on.page.locator(".queued:visible")).to_have_count(2)
            await turns.last.get_by_role("button", name="Cancel").click()
            await expect(turns.last.locator(".note")).to_have_text("Stopped")
            pieces.put(None, "more", None)
            await expect(turns.nth(1).locator(".said")).to_have_text("second")
            await expect(turns.nth(1).locator(".text")).to_have_text("more")

    chromium.run(main())


def test_what_the_application_brings_along(chromium: Chromium) -> None:
    async def on_open(session: SessionView, request: Request) -> None:
        said = [{"role": "user", "content": "one"}, {"role": "assistant", "content": "one answered"}]
        session.history = [*said, {"role": "user", "content": "two"}, {"role": "assistant", "content": "two answered"}]

    async def main() -> None:
        async with stage(chromium, repeat, on_open=on_open) as on:
            said, text = on.page.locator(".said"), on.page.locator(".text")
            await expect(said).to_have_text(["one", "two"])
            await on.say("three")
            for _ in range(2):
                await expect(said).to_have_text(["one", "two", "three"])
                await expect(text).to_have_text(["one answered", "two answered", "You said three"])
                await on.page.reload()

    chromium.run(main())


EVIL = "<img src=x onerror=\"console.error('hacked')\"><script>console.error('hacked')</script><b id=evil>bold</b>"


def test_text_is_never_html(chromium: Chromium) -> None:
    async def main() -> None:
        pieces = Pieces()

        async def generate(turn: Turn) -> None:
            async with turn.tool(EVIL, EVIL, input=EVIL) as tool:
                tool.finish(EVIL, output={EVIL: EVIL})
            await turn.send(Source(EVIL, EVIL, "javascript:console.error('hacked')"))
            await turn.send(Source(EVIL, EVIL, f"https://example.org/{EVIL}"))
            await turn.send(Custom("evil", {"message": EVIL}))
            await turn.send(f"{EVIL}\n\n[{EVIL}](javascript:console.error('hacked')) **{EVIL}** `{EVIL}`\n- {EVIL}\n")
            await turn.send(f"```\n{EVIL}\n```\n# {EVIL}\n")
            await pieces(turn)
            await turn.ask(EVIL, {"enum": [EVIL]})

        async with stage(chromium, generate) as on:
            await on.say(EVIL)
            await on.shows(".said", EVIL)
            await on.shows(".text pre", EVIL)
            pieces.put(None)
            await expect(on.page.locator(".question")).to_have_text(EVIL)
            assert await on.page.locator("main img, main script, #evil").count() == 0
            links = on.page.locator("main a")
            assert [await link.get_attribute("href") for link in await links.all()] == [
                "https://example.org/%3Cimg%20src=x%20onerror=%22console.error('hacked')%22%3E%3Cscript%3Econsole.error"
                "('hacked')%3C/script%3E%3Cb%20id=evil%3Ebold%3C/b%3E"
            ]

    chromium.run(main())


def test_links_end_where_their_addresses_do(chromium: Chromium) -> None:
    async def main() -> None:
        async def generate(turn: Turn) -> None:
            await turn.send("see http://a.example/x. [or [here](https://b.example/y) (http://c.example/z?!).")

        async with stage(chromium, generate) as on:
            await on.say("go")
            links = on.page.locator(".text a")
            await expect(links).to_have_text(["http://a.example/x", "here", "http://c.example/z"])
            found = [await link.get_attribute("href") for link in await links.all()]
            assert found == ["http://a.example/x", "https://b.example/y", "http://c.example/z"]

    chromium.run(main())


def test_the_policy_would_stop_what_the_code_does_not_do(chromium: Chromium) -> None:
    async def main() -> None:
        async with stage(chromium, repeat) as on:
            refused = "(text) => { try { document.body.innerHTML = text } catch (error) { return error.name } }"
            assert await on.page.evaluate(refused, EVIL) == "TypeError"
            picture = "Object.assign(new Image(), { src: 'http://127.0.0.1:9/' })"
            await on.page.evaluate(f"new Promise((over) => {{ {picture}.onerror = () => over() }})")
            assert {"refused: require-trusted-types-for", "refused: img-src"} <= set(on.errors)
            on.errors.clear()

    chromium.run(main())


def test_errors_and_trying_again(chromium: Chromium) -> None:
    count = 0

    async def generate(turn: Turn) -> AsyncIterator[str]:
        nonlocal count
        count += 1
        yield "A part. "
        if count == 1:
            raise TurnError("busy", "The model is busy.", retryable=True)
        if turn.content == "broken":
            raise TurnError("broken", "It is broken.")

    async def main() -> None:
        async with stage(chromium, generate) as on:
            await on.say("hello")
            await on.shows(".note", re.compile("The model is busy."))
            await on.page.get_by_role("button", name="Try again").click()
            await expect(on.page.locator(".turn")).to_have_count(2)
            await expect(on.page.locator(".said")).to_have_text(["hello", "hello"])
            await expect(on.page.locator(".turn").last).to_have_attribute("data-end", "completed")
            await on.say("broken")
            await on.shows(".note", "It is broken.")
            await on.say("x" * 70_000)
            await on.shows(".note", "a message may have 65536 bytes")
            await on.say("still here")
            await on.shows(".said", "still here")
            await on.shows(".text", "A part. ")

    chromium.run(main())


def test_a_server_that_has_forgotten(chromium: Chromium) -> None:
    async def main() -> None:
        pieces = Pieces()
        async with stage(chromium, pieces) as on:
            await on.say("?")
            pieces.put("before")
            await on.shows(".text", "before")
            async with Server(repeat, Config(port=0)) as other:
                on.network.lead_to(other.urls[0])
                on.network.cut()
                await on.shows(".note", re.compile("no longer knows this conversation"))
                await on.shows(".quiet", re.compile("This is a new conversation"))
                await on.page.get_by_role("button", name="Try again").click()
                await on.shows(".text", "You said ?")
                await other.end(next(iter(other.sessions)).id)
                await expect(on.page.locator("#banner")).to_contain_text("This conversation was ended.")
                await expect(on.page.get_by_role("button", name="Send")).to_be_disabled()
                await on.page.get_by_role("button", name="Start a new one").click()
                await on.say("hello")
                await on.shows(".text", "You said hello")

    chromium.run(main())


def test_another_window_takes_over(chromium: Chromium) -> None:
    async def main() -> None:
        async with stage(chromium, repeat) as on:
            await on.say("one")
            await on.shows(".text", "You said one")
            held = await on.page.evaluate("sessionStorage.getItem('wsserver')")
            other = await on.page.context.new_page()
            await other.add_init_script(f"sessionStorage.setItem('wsserver', {held!r})")
            await other.goto(on.network.origin)
            await expect(other.locator(".text")).to_have_text("You said one")
            await expect(on.page.locator("#banner")).to_contain_text("another window")
            await on.page.get_by_role("button", name="Continue here").click()
            await on.shows(".text", "You said one")
            await expect(other.locator("#banner")).to_contain_text("another window")

    chromium.run(main())


def test_what_is_pushed_is_a_quiet_line(chromium: Chromium) -> None:
    async def main() -> None:
        async with stage(chromium, repeat) as on:
            await on.say("one")
            await on.shows(".text", "You said one")
            await on.server.push(next(iter(on.server.sessions)).id, "parcel", {"number": 7})
            await on.shows(".quiet", 'parcel: {"number":7}')

    chromium.run(main())


def test_a_reader_who_went_up_is_left_there(chromium: Chromium) -> None:
    async def main() -> None:
        pieces = Pieces()
        async with stage(chromium, pieces, viewport={"width": 600, "height": 500}) as on:
            top = "document.querySelector('main').scrollTop"
            left = "((main) => main.scrollHeight - main.scrollTop - main.clientHeight)(document.querySelector('main'))"
            await on.say("?")
            pieces.put("line\n\n" * 60, "first")
            await on.shows(".text p", "first")
            await expect(on.page.locator("#latest")).to_be_hidden()
            assert await on.page.evaluate(left) < 2
            await on.page.locator("main").hover()
            await on.page.mouse.wheel(0, -300)
            await expect(on.page.locator("#latest")).to_be_visible()
            before = await on.page.evaluate(top)
            pieces.put("\n\nline" * 20, "\n\nsecond")
            await on.shows(".text p", "second")
            assert await on.page.evaluate(top) == before
            await on.page.locator("#latest").click()
            assert await on.page.evaluate(left) < 2
            pieces.put("\n\nline" * 20, "\n\nthird")
            await on.shows(".text p", "third")
            assert await on.page.evaluate(left) < 2

    chromium.run(main())


def test_keys_and_what_is_said_aloud(chromium: Chromium) -> None:
    async def main() -> None:
        pieces = Pieces()
        async with stage(chromium, pieces) as on:
            field = on.page.get_by_label("Your message")
            await expect(field).to_be_focused()
            await on.page.keyboard.type("one")
            await on.page.keyboard.press("Shift+Enter")
            await on.page.keyboard.type("two")
            composing = "new KeyboardEvent('keydown', { key: 'Enter', isComposing: true, bubbles: true })"
            await field.evaluate(f"(field) => field.dispatchEvent({composing})")
            await expect(field).to_have_value("one\ntwo")
            await on.page.keyboard.press("Enter")
            await on.shows(".said", "one\ntwo")
            await expect(field).to_have_value("")
            said = on.page.locator("#announcer p")
            pieces.put("The first ", "paragraph.", "\n\nThe ")
            await expect(said).to_have_text(["The first paragraph."])
            finished = on.page.locator(".text p").first
            await finished.evaluate("(paragraph) => (paragraph.dataset.kept = 'yes')")
            pieces.put("second ", "one.")
            await on.shows(".text p", "The second one.")
            await expect(said).to_have_count(1)
            await expect(finished).to_have_attribute("data-kept", "yes")
            pieces.put(None)
            await expect(said).to_have_text(["The first paragraph.", "The second one."])
            await expect(on.page.locator("main")).to_have_attribute("aria-live", "off")

    chromium.run(main())


ANSWER = """## How a refund works

A refund takes **three steps**; the whole of it is at https://example.org/refunds.

1. Open *My orders* and choose the parcel.
2. Press `Request a refund`.

```python
async def refund(order): await bank.transfer(order.amount_with_taxes_and_everything, to=order.customer)
```

收到商品后 7 天内可以申请退款。"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1100, 360])
def test_how_it_looks(scheme: Any, width: int, chromium: Chromium, tmp_path: Path) -> None:
    """Leaves screenshots; nothing is wider than the screen, and the text can be read on its ground."""

    async def main() -> None:
        async def generate(turn: Turn) -> None:
            async with turn.tool("search", "Searching …", input={"query": turn.content}) as tool:
                tool.finish("2 passages found", output=[{"doc": "faq.md"}])
            await turn.send(ANSWER)
            await turn.send(Source("Refunds, step by step", "Within seven days.", "https://example.org/refunds", 13.99))
            await turn.ask("Shall I ask for one?", {"type": "boolean"})

        async with stage(chromium, generate, color_scheme=scheme, viewport={"width": width, "height": 800}) as on:
            await on.page.screenshot(path=tmp_path / "empty.png")
            await on.say("How do I get my money back?")
            await on.shows(".sources .title", re.compile("Refunds"))
            await expect(on.page.get_by_role("button", name="Yes")).to_be_visible()
            await on.say("And then?")
            await on.shows(".queued", re.compile("Waiting"))
            await on.page.screenshot(path=tmp_path / "conversation.png")
            for element in ("document.documentElement", "document.querySelector('main')"):
                assert await on.page.evaluate(f"{element}.scrollWidth - {element}.clientWidth") == 0
            colours = "((style) => [style.color, style.backgroundColor])(getComputedStyle(document.body))"
            ink, paper = [luminance(colour) for colour in await on.page.evaluate(colours)]
            assert (ink > paper) == (scheme == "dark")
            assert (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05) > 7

    chromium.run(main())


def luminance(colour: str) -> float:
    """Of `rgb(r, g, b)`, from 0 to 1 (WCAG 2.1)."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
