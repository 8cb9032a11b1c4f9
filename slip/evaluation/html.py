"""A page of HTML from elements of the standard library, which escapes what it is given."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from xml.etree.ElementTree import Element, tostring

Node = Element | str

STYLE = """
:root { color-scheme: light dark; --line: #8886; --soft: #8882; --accent: #d55e00; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: 0; } h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25rem .75rem; border-bottom: 1px solid var(--line); }
td, th { vertical-align: top; overflow-wrap: anywhere; }
thead th { background: var(--soft); }
.wide { overflow-x: auto; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: 1rem; }
figure { margin: 0; padding: .5rem; background: var(--soft); border-radius: .5rem; }
figcaption { font-size: .85rem; overflow-wrap: anywhere; }
.scene { position: relative; line-height: 0; } .scene img { width: 100%; border-radius: .25rem; }
.tile { position: absolute; width: 50%; height: 50%; border: 3px dashed #fff; outline: 1px solid #000;
  box-sizing: border-box; }
.crop { float: right; width: 5rem; margin: .5rem 0 0 .5rem; border-radius: .25rem; }
.note { padding: .5rem 1rem; border-left: 4px solid var(--accent); background: var(--soft); }
"""


def element(tag: str, *children: Node, **attributes: str) -> Element:
    """An element with text and elements inside; ``class_`` stands for the attribute ``class``."""
    made = Element(tag, {name.rstrip("_"): value for name, value in attributes.items()})
    last: Element | None = None
    for child in children:
        if isinstance(child, Element):
            made.append(child)
            last = child
        elif last is None:
            made.text = (made.text or "") + child
        else:
            last.tail = (last.tail or "") + child
    return made


def table(columns: Sequence[str], rows: Iterable[Sequence[Node]]) -> Element:
    """A table whose first column names its rows."""
    head = element("tr", *(element("th", name, scope="col") for name in columns))
    body = (
        element("tr", element("th", row[0], scope="row"), *(element("td", cell) for cell in row[1:]))
        for row in rows
    )
    inner = element("table", element("thead", head), element("tbody", *body))
    return element("div", inner, class_="wide")


def jpeg(data: bytes, alt: str, **attributes: str) -> Element:
    """A picture held by the page itself."""
    return _picture("jpeg", data, alt, **attributes)


def png(data: bytes, alt: str, **attributes: str) -> Element:
    """The same for a drawing."""
    return _picture("png", data, alt, **attributes)


def _picture(kind: str, data: bytes, alt: str, **attributes: str) -> Element:
    source = f"data:image/{kind};base64,{b64encode(data).decode('ascii')}"
    return element("img", src=source, alt=alt, loading="lazy", **attributes)


def folded(title: str, *children: Node) -> Element:
    """What opens when its title is clicked."""
    return element("details", element("summary", title), *children)


def page(title: str, *children: Node) -> bytes:
    """The whole page, self-contained, in UTF-8."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", STYLE),
    )
    whole = element("html", head, element("body", *children), lang="en")
    text = tostring(whole, encoding="unicode", method="html")
    return f"<!DOCTYPE html>\n{text}\n".encode("utf-8", "backslashreplace")
