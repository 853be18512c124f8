"""Self-contained pages: one HTML file with its style, its programs and its data."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from snn_codec.files import script_json


def page(name: str, data: Any) -> str:
    """Return the page `name` of this package with its style and programs, and `data` as JSON."""
    assets = files("snn_codec.listening") / "assets"
    html = (assets / f"{name}.html").read_text(encoding="utf-8")
    for asset in ("style.css", "player.js", f"{name}.js"):
        html = html.replace(f"/* {asset} */", (assets / asset).read_text(encoding="utf-8"))
    return html.replace("/* data */", script_json(data))
