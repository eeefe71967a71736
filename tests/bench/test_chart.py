"""The chart is well-formed, true to scale, and readable on light and dark pages."""

from __future__ import annotations

from xml.etree import ElementTree

from bench.chart import Bar, Panel, draw

SVG = "{http://www.w3.org/2000/svg}"


def drawn(*bars: Bar) -> ElementTree.Element:
    return ElementTree.fromstring(draw("a <title> & more", "below", [Panel("CPU µs", bars)]))


def widths(root: ElementTree.Element) -> list[float]:
    return [float(rect.attrib["width"]) for rect in root.iter(SVG + "rect") if rect.attrib["class"] != "page"]


def test_bars_are_as_long_as_their_values() -> None:
    root = drawn(Bar("ours", 2, 2, 2, "2"), Bar("other", 8, 8, 8, "8"))
    short, long = widths(root)
    assert long == 4 * short


def test_nothing_leaves_the_picture() -> None:
    """Also where the extremes are far beyond the medians."""
    root = drawn(Bar("ours", 2, 1, 100, "2"), Bar("other", 8, 4, 9, "8"))
    right = float(root.attrib["width"])
    assert max(float(line.attrib["x2"]) for line in root.iter(SVG + "line")) < right - 100
    assert max(float(text.attrib["y"]) for text in root.iter(SVG + "text")) < float(root.attrib["height"])


def test_spread_is_a_line_from_least_to_most() -> None:
    root = drawn(Bar("ours", 4, 2, 8, "4"), Bar("other", 8, 8, 8, "8"))
    (line,) = root.iter(SVG + "line")
    left = float(next(rect for rect in root.iter(SVG + "rect") if rect.attrib["class"] == "first").attrib["x"])
    short, long = widths(root)
    assert float(line.attrib["x1"]) == left + short / 2
    assert float(line.attrib["x2"]) == left + long


def test_what_falls_and_what_is_nothing_can_be_drawn() -> None:
    root = drawn(Bar("raw", 0, 0, 0, "0"), Bar("cheaper", -5, 0, 0, "-5"))
    assert widths(root) == [0, 430]
    assert [rect.attrib["class"] for rect in root.iter(SVG + "rect")] == ["page", "first", "fall"]
    assert drawn().attrib["role"] == "img"


def test_text_is_escaped_and_colours_follow_the_page() -> None:
    text = draw("a <title> & more", "", [])
    assert "a &lt;title&gt; &amp; more" in text
    assert "prefers-color-scheme: dark" in text
