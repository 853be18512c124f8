"""Pages that need nothing but themselves: one HTML file with its style, its program and its data in it."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any


def page(name: str, data: Any) -> str:
    """The page `name` of this package, with its style and programs, and `data` where they find it."""
    assets = files("snn_codec.listening") / "assets"
    html = (assets / f"{name}.html").read_text(encoding="utf-8")
    for asset in ("style.css", "player.js", f"{name}.js"):
        html = html.replace(f"/* {asset} */", (assets / asset).read_text(encoding="utf-8"))
    # "</script>" inside a string would end the program, as would "<!--"
    return html.replace("/* data */", json.dumps(data).replace("<", "\\u003c"))
