"""Boxes and arrows as SVG, readable on a light and on a dark page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from xml.sax.saxutils import escape, quoteattr

__all__ = ["Box", "Drawing", "Point"]

Point = tuple[float, float]

_STYLE = """
text { font: 13px system-ui, "DejaVu Sans", sans-serif; fill: #1f2933; }
.title { font-weight: 600; text-anchor: middle; } .head { font-weight: 600; fill: #52606d; }
.small { font-size: 11.5px; fill: #52606d; text-anchor: middle; }
.label { font-size: 11.5px; fill: #334e68; }
.start { text-anchor: start; } .middle { text-anchor: middle; } .end { text-anchor: end; }
.box { stroke: #486581; stroke-width: 1.3; fill: #e8f1fa; }
.good { fill: #dcf3e3; stroke: #2f855a; } .bad { fill: #fde8e0; stroke: #b7522a; }
.plain { fill: #f4f5f7; stroke: #7b8794; }
.frame { fill: none; stroke: #7b8794; stroke-dasharray: 5 4; }
.secret { fill: #fff4d6; stroke: #b7791f; }
.arrow { fill: none; stroke: #334e68; stroke-width: 1.4; marker-end: url(#head); }
"""
_HEAD = (
    '<marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" '
    'orient="auto-start-reverse"><path d="M0 0 10 5 0 10z" fill="#334e68"/></marker>'
)


@dataclass(frozen=True)
class Box:
    """A rectangle with a title and lines below it; places are its edges' middles."""

    x: float  #: of its left edge
    y: float  #: of its upper edge
    width: float
    height: float

    @property
    def left(self) -> Point:
        """The middle of the left edge."""
        return self.x, self.y + self.height / 2

    @property
    def right(self) -> Point:
        """The middle of the right edge."""
        return self.x + self.width, self.y + self.height / 2

    def top(self, at: float = 0.5) -> Point:
        """Give a place on the upper edge, from 0 at the left to 1."""
        return self.x + at * self.width, self.y

    def bottom(self, at: float = 0.5) -> Point:
        """Give a place on the lower edge."""
        return self.x + at * self.width, self.y + self.height


@dataclass
class Drawing:
    """A picture that grows by boxes and arrows."""

    width: int
    height: int
    title: str  #: for who cannot see it
    _parts: list[str] = field(default_factory=list)

    def box(self, box: Box, title: str, lines: Sequence[str] = (), kind: str = "") -> Box:
        """Draw a box; `kind` is a class of the style, ``frame`` for one around others."""
        self._parts.append(
            f'<rect class="box {kind}" x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" '
            f'height="{box.height:g}" rx="7"/>'
        )
        if kind == "frame":
            self._text(box.x + 14, box.y + 21, title, "head")
            return box
        middle = box.x + box.width / 2
        first = box.y + box.height / 2 + 5 - 8 * len(lines)
        self._text(middle, first, title, "title")
        for number, line in enumerate(lines, 1):
            self._text(middle, first + 16 * number, line, "small")
        return box

    def arrow(
        self,
        points: Sequence[Point],
        label: str = "",
        at: Point | None = None,
        anchor: str = "middle",
        **facts: str,
    ) -> None:
        """Draw an arrow along points, with a label at a place; `facts` become ``data-...``."""
        path = "M" + " L".join(f"{x:g} {y:g}" for x, y in points)
        told = "".join(f" data-{name}={quoteattr(value)}" for name, value in facts.items())
        self._parts.append(f'<path class="arrow" d="{path}"{told}/>')
        if label and at is not None:
            for number, line in enumerate(label.split("\n")):
                self._text(at[0], at[1] + 14 * number, line, f"label {anchor}")

    def note(self, at: Point, text: str, anchor: str = "start") -> None:
        """Write a line."""
        self._text(*at, text, f"label {anchor}")

    def svg(self) -> str:
        """Give the picture as a file's content."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            f'width="{self.width}" height="{self.height}" role="img">'
        )
        ground = f'<rect width="{self.width}" height="{self.height}" rx="8" fill="#fff"/>'
        parts = [head, f"<title>{escape(self.title)}</title>", f"<style>{_STYLE}</style>"]
        return "\n".join([*parts, f"<defs>{_HEAD}</defs>", ground, *self._parts, "</svg>"]) + "\n"

    def _text(self, x: float, y: float, text: str, kind: str) -> None:
        self._parts.append(f'<text class="{kind}" x="{x:g}" y="{y:g}">{escape(text)}</text>')
