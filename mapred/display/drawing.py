"""Parts of SVG pictures without a style sheet or an id, which notebooks strip or mix up."""

from __future__ import annotations

from mapred.display.format import escape_html

WIDTH = 760
FAINT = 'stroke="currentColor" stroke-width="1" opacity=".15"'
CHARACTER = 7.1  # the width of a letter at the size of labels, about


def picture(name: str, about: str, height: float, inside: str) -> str:
    """Return a picture with its title, and a description of what it shows in words."""
    return (
        f'<svg role="img" aria-label="{escape_html(name)}" viewBox="0 0 {WIDTH} {height:g}"'
        f' width="100%" style="max-width:{WIDTH}px;display:block;margin:6px 0"'
        ' font-family="sans-serif" font-size="13" xmlns="http://www.w3.org/2000/svg">'
        f"{title(name)} <desc>{escape_html(about)}</desc> "
        f'<g fill="currentColor">{inside}</g></svg>'
    )


def label(x: float, y: float, text: str, anchor: str = "start", more: str = "") -> str:
    where = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text x="{x:.1f}" y="{y:.1f}"{where}{more}>{escape_html(text)}</text> '


def title(text: str) -> str:
    return f"<title>{escape_html(text)}</title>"


def line(x: float, y: float, x2: float, y2: float, more: str = FAINT) -> str:
    return f'<path d="M{x:.1f} {y:.1f}L{x2:.1f} {y2:.1f}" {more}/>'


def cross(x: float, y: float, colour: str, name: str, size: float = 3.5) -> str:
    """Return the mark of what failed."""
    path = f"M{x - size:.1f} {y - size:.1f}l{2 * size:g} {2 * size:g}m0 {-2 * size:g}l{-2 * size:g} {2 * size:g}"
    return f'<path d="{path}" stroke="{colour}" stroke-width="2" fill="none">{title(name)}</path>'


def ring(x: float, y: float, name: str, size: float = 3.5) -> str:
    """Return the mark of what is missing."""
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size:g}" fill="none" stroke="currentColor"'
        f' stroke-width="1.5" stroke-dasharray="2.5 1.5" opacity=".85">{title(name)}</circle>'
    )


def width_of(text: str) -> float:
    """Return about how wide a label is; letters of East Asia are twice as wide."""
    return sum(2 * CHARACTER if ord(letter) > 0x2E7F else CHARACTER for letter in text)
