"""Formatting of text on the page: no text takes longer than it is long."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.web.node import WEB, modules, node

#: As much of a document as this module asks for.
DOCUMENT = """
globalThis.document = { createElement: () => ({ childNodes: [], append() {}, setAttribute() {} }) };
"""


@pytest.fixture(autouse=True)
def needs_node() -> None:
    modules()


@pytest.mark.parametrize("text", ["'['.repeat(300_000)", "'http://a' + '.'.repeat(300_000) + 'x'"])
def test_no_text_keeps_the_page_busy(text: str) -> None:
    """A model may be made to say anything. In time that grows with the square each of these takes most of a minute."""
    program = f"""
      {DOCUMENT}
      const {{ Text }} = await import({json.dumps((WEB / "format.js").as_uri())});
      const it = new Text();
      it.value = {text};
      it.draw();
      show(it.value.length);
    """
    [length] = asyncio.run(node(program))
    assert length >= 300_000
