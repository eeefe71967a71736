"""Bars as SVG, written by hand: one panel a figure, one bar a row, readable on light and dark pages."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# In pixels.
_WIDTH, _NAMES, _BARS, _MARGIN = 820, 170, 430, 16
_ROW, _BAR, _TITLE, _GAP = 24, 15, 30, 14

_STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1f2328 }
  .title { font-size: 16px; font-weight: 600 } .panel { font-weight: 600 } .small { font-size: 11px; fill: #59636e }
  .page { fill: #ffffff } .bar { fill: #9aa7b4 } .first { fill: #1f6feb } .fall { fill: #2da44e }
  .spread { stroke: #1f2328; stroke-width: 1.5 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .small { fill: #9198a1 } .page { fill: #0d1117 } .bar { fill: #57626d }
    .first { fill: #4493f8 } .fall { fill: #3fb950 } .spread { stroke: #e6edf3 }
  }
"""


@dataclass(frozen=True)
class Bar:
    """A value with its extremes, and what is written beside it."""

    name: str
    value: float
    low: float
    high: float
    text: str


@dataclass(frozen=True)
class Panel:
    """Bars of one figure on one scale; the first is the one that others are compared with."""

    title: str
    bars: Sequence[Bar]


def draw(title: str, subtitle: str, panels: Sequence[Panel]) -> str:
    """A whole SVG document."""
    y = _MARGIN + 16
    parts = [_text(_MARGIN, y, title, "title")]
    y += 20
    parts.append(_text(_MARGIN, y, subtitle, "small"))
    y += _GAP
    for panel in panels:
        y += _TITLE
        parts.append(_text(_MARGIN, y - 8, panel.title, "panel"))
        # Extremes may reach beyond the values, values may be below zero: a layer that costs less than the one below.
        most = max((max(abs(bar.value), bar.high) for bar in panel.bars), default=0.0) or 1.0
        for number, bar in enumerate(panel.bars):
            parts += _bar(bar, y, _BARS / most, "first" if number == 0 else "bar")
            y += _ROW
    y += _MARGIN
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{y}" viewBox="0 0 {_WIDTH} {y}" role="img">'
    )
    about = f"<title>{escape(title)}</title>"
    return "\n".join(
        [
            head,
            about,
            f"<style>{_STYLE}</style>",
            '<rect class="page" width="100%" height="100%"/>',
            *parts,
            "</svg>",
            "",
        ]
    )


def _bar(bar: Bar, y: int, scale: float, kind: str) -> list[str]:
    left, middle = _MARGIN + _NAMES, y + _BAR / 2
    width = abs(bar.value) * scale
    shape = (
        f'<rect class="{"fall" if bar.value < 0 else kind}" x="{left}" y="{y}" width="{width:.1f}" height="{_BAR}"/>'
    )
    parts = [_text(_MARGIN, y + 12, bar.name), shape]
    end = width
    if 0 <= bar.low < bar.high:
        low, high = bar.low * scale, bar.high * scale
        parts.append(f'<line class="spread" x1="{left + low:.1f}" y1="{middle}" x2="{left + high:.1f}" y2="{middle}"/>')
        end = max(width, high)
    parts.append(_text(left + end + 6, y + 12, bar.text))
    return parts


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    attribute = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y}"{attribute}>{escape(text)}</text>'
