"""The folder of a listening test.

audio/           every sound a listener can hear: 48 kHz, 16 bit, mono, under random names
index.html       the page
key.json         which sound is which; never served
webmushra.yaml   the same test for webMUSHRA
results.sqlite   the ratings (made by `server`)
"""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from snn_codec import audio
from snn_codec.errors import UserError
from snn_codec.files import make_folder
from snn_codec.listening import conditions, keys, pages, signals
from snn_codec.listening.conditions import Item
from snn_codec.listening.keys import DEGRADED, LOW_ANCHOR, MID_ANCHOR, REFERENCE
from snn_codec.listening.signals import RATE

LONGEST = 12  # seconds, BS.1534-3
LOUDNESS = -23.0  # LUFS, lower if that would clip
PEAK = 0.98
RATES = (1000, 192_000)  # Hz that a reference may be brought to


def build(
    folder: Path,
    texts: Sequence[str],
    output: Path,
    *,
    start: float = 0,
    seconds: float = 10,
    reference_rate: int | None = None,
) -> dict[str, Any]:
    """Make the test `output` of the recordings in `folder`, and return the content of `key.json`.

    Every version of an item has one length and one loudness (BS.1770-4), is aligned in time, and fades in and out
    in 5 ms.

    Args:
        texts: Conditions, as `conditions.parse` has them.
        start: Where in a recording its excerpt begins, in seconds.
        seconds: Length of the excerpt; shorter recordings are taken whole.
        reference_rate: Bring recordings to this rate first (the paper: 22 050 Hz), so that a codec of that rate
            is rated for its coding and not for its bandwidth.

    Raises:
        UserError: Something cannot be read or rendered, is silent or too short, or `output` exists; the excerpt or the
            rate cannot be.
    """
    conditions.check_excerpt(start, seconds, LONGEST)
    if reference_rate is not None and not RATES[0] <= reference_rate <= RATES[1]:
        raise UserError(f"a reference rate of {reference_rate} Hz: give {RATES[0]} to {RATES[1]} Hz")
    if output.exists():
        raise UserError(f"{output}: exists already; build a test in a new folder")
    renderers = conditions.parse_all(texts)
    items = [_excerpt(path, start, seconds, reference_rate) for path in _recordings(folder)]
    versions = {item.name: _versions(item, renderers) for item in items}
    described = {
        item.name: {"source": item.path.name, "start": item.start, "seconds": len(item.audio) / item.rate}
        for item in items
    }
    known = {
        (item, condition): {field: value for field, value in version.items() if field != "audio"}
        for item, made in versions.items()
        for condition, version in made.items()
    }
    key = keys.new(output.name, described, known)
    make_folder(output.parent)
    try:
        with tempfile.TemporaryDirectory(dir=output.parent, prefix=".listen.") as temporary:
            test = Path(temporary) / "test"
            _write(test, key, versions)
            test.rename(output)  # it appears when it is whole
    except OSError as error:
        raise UserError(f"{output}: cannot be made ({error.strerror}); choose another folder") from error
    return key


def _recordings(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give one that holds the recordings to listen to")
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in audio.SUFFIXES)
    if not found:
        raise UserError(f"{folder}: holds no recording ({', '.join(audio.SUFFIXES[:5])})")
    names = [path.stem for path in found]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{folder}: has {names.count(name)} recordings named {name}; rename one")
    return found


def _excerpt(path: Path, start: float, seconds: float, rate: int | None) -> Item:
    samples, own = conditions.read_seconds(path, start, start + seconds)
    if len(samples) < own:
        raise UserError(f"{path}: has {len(samples) / own:.1f} s from {start} s on; a second is the least")
    if rate is not None:
        samples = np.concatenate(list(audio.resampled([samples], own, rate)))
    return Item(path.stem, path, start, start + seconds, samples, rate or own)


def _versions(item: Item, renderers: dict[str, conditions.Condition]) -> dict[str, dict[str, Any]]:
    """Each condition's sound and what is known of it, by name."""
    original = conditions.to_test_rate(item.audio, item.rate)
    made: dict[str, dict[str, Any]] = {
        REFERENCE: {"audio": original},
        LOW_ANCHOR: {"audio": signals.low_pass(original, 3500)},
        MID_ANCHOR: {"audio": signals.low_pass(original, 7000)},
        DEGRADED: {"audio": signals.degraded(original)},
    }
    for name, render in renderers.items():
        rendered = render(item)
        late = 0 if rendered.exact else signals.lag(rendered.audio, original)
        made[name] = {
            "audio": signals.shifted(rendered.audio, late, len(original)),
            "kbps": rendered.kbps,
            "lag": late,
        }
    loudness = {name: signals.loudness(version["audio"]) for name, version in made.items()}
    for name, value in loudness.items():
        if not np.isfinite(value):
            raise UserError(f"{item.path}: is silent as {name}; leave the item or the condition out")
    peaks = {name: np.abs(version["audio"]).max() for name, version in made.items()}
    loudest = min(LOUDNESS, *(loudness[name] + 20 * np.log10(PEAK / peaks[name]) for name in made))
    for name, version in made.items():
        gain = loudest - loudness[name]
        version["audio"] = signals.faded(version["audio"] * np.float32(10 ** (gain / 20)))
        version["gain_db"] = float(gain)
    return made


def _write(test: Path, key: dict[str, Any], versions: dict[str, dict[str, dict[str, Any]]]) -> None:
    (test / "audio").mkdir(parents=True)
    sounds = {token: (item, REFERENCE) for item, token in key["references"].items()}
    sounds |= {token: (version["item"], version["condition"]) for token, version in key["versions"].items()}
    for token, (item, condition) in sorted(sounds.items()):
        path = test / "audio" / f"{token}.wav"
        audio.write(path, [versions[item][condition]["audio"]], RATE)
        os.utime(path, (0, 0))  # a server tells a file's time
    page = pages.page("test", {"id": secrets.token_hex(8)})  # what a browser remembers is of this test
    for name, text in (
        (keys.FILE, json.dumps(key, indent=1) + "\n"),
        ("index.html", page),
        ("webmushra.yaml", webmushra(key)),
    ):
        (test / name).write_text(text, encoding="utf-8")


def webmushra(key: dict[str, Any]) -> str:
    """Return the test as a configuration of webMUSHRA; its results have the codes C1, C2, ... for conditions.

    JSON is YAML, so it is written as JSON.
    """
    by_item: dict[str, dict[str, str]] = {item: {} for item in key["references"]}
    for token, version in key["versions"].items():
        if version["condition"] != REFERENCE:  # webMUSHRA hides one itself
            by_item[version["item"]][key["codes"][version["condition"]]] = f"audio/{token}.wav"
    trials = [
        {
            "type": "mushra",
            "id": item,
            "name": "Compare with the reference",
            "content": "",
            "showWaveform": True,
            "enableLooping": True,
            "strict": True,
            "createAnchor35": False,
            "createAnchor70": False,
            "randomize": True,
            "showConditionNames": False,
            "reference": f"audio/{key['references'][item]}.wav",
            "stimuli": dict(sorted(versions.items())),
        }
        for item, versions in by_item.items()
    ]
    end = {"type": "finish", "name": "Thank you", "content": "", "showResults": False, "writeResults": True}
    settings = {
        "testname": key["test"],
        "testId": key["test"],
        "bufferSize": 2048,
        "stopOnErrors": True,
        "showButtonPreviousPage": True,
        "remoteService": "service/write.php",
        "pages": [["random", *trials], end],
    }
    return json.dumps(settings, indent=2) + "\n"
