"""The first page of a report: Figure 5, and for each model what was found, with links to its recordings."""

from __future__ import annotations

import html
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from snn_codec.analysis import nulls
from snn_codec.analysis.study import Study
from snn_codec.analysis.wording import figure, interval, length
from snn_codec.files import replacing

CLEAR = 5.0  # clearness below which a lag means nothing (`notes.lag`)
_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Events and notes</title>
<style>
body { margin: 0 auto; max-width: 1100px; padding: 16px; background: #fbfaf8; color: #1f2933; }
body { font: 14px/1.5 system-ui, sans-serif; }
h1 { font-size: 19px; } h2 { font-size: 16px; margin: 28px 0 6px; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 400; color: #66727f; padding: 2px 18px 2px 0; }
td { padding: 2px 18px 2px 0; }
img { max-width: 100%; border: 1px solid #dfe3e8; border-radius: 8px; background: #fff; }
.soft { color: #66727f; }
</style>
</head>
<body>
<h1>Events and notes</h1>
"""


def write(
    path: str | os.PathLike,
    studies: Sequence[Study],
    pages: Mapping[int, Sequence[tuple[str, Path]]],
    *,
    force: bool = False,
) -> None:
    """Write the page beside the report's other files.

    Args:
        pages: For the number of a study, names of recordings and their pages.

    Raises:
        UserError: The file exists (without `force`), or cannot be written.
    """
    folder = Path(path).parent
    linked = {
        number: [(name, os.path.relpath(page, folder)) for name, page in some]
        for number, some in pages.items()
    }
    sections = (_section(study, linked.get(number, ())) for number, study in enumerate(studies))
    end = (
        '<h2>Figure 5</h2>\n<img src="figure5.png" alt="Rasters over piano rolls, cross-correlations with notes, '
        'prominence of units and keys">\n</body>\n</html>\n'
    )
    with replacing(path, force=force) as temporary:
        # a file's name need not be UTF-8
        temporary.write_text(_HEAD + "".join(sections) + end, encoding="utf-8", errors="backslashreplace")


def _section(study: Study, pages: Sequence[tuple[str, str]]) -> str:
    found = study.summary()
    what = {"unit": "units", "bin": "bins", "note": "semitone bands"}[study.rows.kind]
    clear = found["median_lag_clearness"] >= CLEAR
    rows = [
        ("recordings", f"{found['recordings']}, {length(found['seconds'] / 60)}, {found['onsets']} onsets"),
        (
            "units",
            f"{found['units']}" + (f", taken as {study.rows.number} {what}" if what != "units" else ""),
        ),
        ("events a second", f"{found['events_per_second']:.0f}"),
        ("near an onset", f"{found['half_width_ms']:g} ms, {2 * study.half_width + 1} steps in all"),
        ("mean prominence", f"{figure(found['mean_prominence'], 4)}, by chance {found['chance']:.4f}"),
        ("largest prominence", interval(found["max_prominence"], 3)),
        (f"note-selective {what}", interval(found["selective_units"], 0) + f" of {study.rows.number}"),
        ("selective pairs with a key", interval(found["selective_pairs"], 0)),
        ("events after notes", f"{found['median_lag_ms']:.0f} ms" if clear else "not clear from the data"),
    ]
    table = "".join(
        f"<tr><th>{html.escape(name)}</th><td>{html.escape(text)}</td></tr>\n" for name, text in rows
    )
    links = ", ".join(
        f'<a href="{quote(os.fsencode(path), safe="@/")}">{html.escape(name)}</a>' for name, path in pages
    )
    return (
        f"<h2>{html.escape(study.model)}</h2>\n<table>\n{table}</table>\n"
        f'<p class="soft">{html.escape(why(found))}</p>\n' + (f"<p>Pages: {links}</p>\n" if links else "")
    )


def why(found: Mapping[str, Any]) -> str:
    """Explain a study's summary: how many keys could be tested, and how much music the first selectivity needs."""
    if found["onsets"]:
        return _tested(found)
    none = (
        f"No onset counts for prominences, as each needs {found['lags_ms'] / 1000:.3g} s of sound before and after it, "
        "the largest lag; give longer recordings, or a smaller --lags-ms."
    )
    return f"{none} {_tested(found)}" if found["tested_keys"] else none


def _tested(found: Mapping[str, Any]) -> str:
    keys, minutes = found["tested_keys"], found["minutes_needed"]
    tested = f"{keys or 'None'} of 88 keys {'have' if keys > 1 else 'has'} the {nulls.FEWEST} onsets that a test needs"
    if found["selective_units"][0]:
        return tested + "."
    if minutes is None or not math.isfinite(minutes):
        return tested + "; no response stands out of chance so far."
    return (
        f"{tested}; at the clearest response so far, selectivity would show after about {length(minutes)} of such "
        "music."
    )
