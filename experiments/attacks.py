"""What codecs do to attacks: SI-SNR around them, the noise ahead of them, and its course in time.

    python experiments/attacks.py DATA [--model free wide@4 mdct:2.6] [--clips 60] [--output experiments/pre-echo.png]

Rows are measures of `snn-codec evaluate` (`snn_codec.attacks`), over the same clips of 5.94 s for every codec; the
figure has the mean power of the error around onsets that stand alone, in dB of the power of their first 30 ms.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from snn_codec import attacks, corpus, plots
from snn_codec.cli import fatal
from snn_codec.corpus import Recording
from snn_codec.errors import UserError
from snn_codec.evaluation import coders
from snn_codec.evaluation.coder import Coder
from snn_codec.files import check_writable
from snn_codec.metrics import MEASURES, Clip
from snn_codec.midi import read
from snn_codec.progress import bar
from snn_codec.stats import between, bootstrap

COLUMNS = ("kbps", "si_snr", "attack_si_snr", "pre_echo", "pre_echo_own")
REACH = 0.100  # seconds to both sides, in bins of one millisecond


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, help="folder of recordings")
    parser.add_argument("--model", nargs="+", default=["free", "wide@4", "mdct:2.6"], help="as in evaluate")
    parser.add_argument("--split", help="as in snn-codec evaluate")
    parser.add_argument(
        "--clips", type=int, default=60, help="or a few more: as many first ones of each recording (60)"
    )
    parser.add_argument("--output", type=Path, default=Path("out/pre-echo.png"))
    parser.add_argument("--force", action="store_true", help="replace the figure if it exists")
    options = parser.parse_args()
    try:
        check_writable(options.output, force=options.force)
        recordings = corpus.recordings(options.data, corpus.measured_split(options.data, options.split))
        found = {}
        print("| codec | " + " | ".join(MEASURES[name].title for name in COLUMNS) + " |")
        print("|---" * (len(COLUMNS) + 1) + "|")
        for model in options.model:
            rows, groups, found[model] = measured(coders.load(model), recordings, options.clips)
            cells = (
                f"{value['mean']:.{MEASURES[name].digits}f} ({between(value, '.1f')})"
                for name, value in ((name, bootstrap(rows[name], groups)) for name in COLUMNS)
            )
            print(f"| `{model}` | " + " | ".join(cells) + " |", flush=True)
        draw(options.output, found, force=options.force)
    except UserError as error:
        return fatal(error)
    return 0


def measured(
    coder: Coder, recordings: list[Recording], clips: int
) -> tuple[dict[str, np.ndarray], list[str], np.ndarray]:
    """Measures of each clip, its recording's name, and the course of the error `[2 REACH ms]` in dB of the attack."""
    each = -(-clips // len(recordings))
    rows: dict[str, list[float]] = {name: [] for name in COLUMNS}
    groups: list[str] = []
    noise, attack = np.zeros(round(2000 * REACH)), 0.0
    length, rate = coder.length, coder.sample_rate
    with bar(coder.name, len(recordings)) as advance:
        for number, recording in enumerate(recordings):
            onsets = read(recording.midi).onset if recording.midi else np.zeros(0)
            for index, clip in enumerate(corpus.clips([recording.path], length, rate, each=each)):
                coded = coder.code(clip)
                seen = Clip(coded.audio, clip, rate, onsets - index * length / rate, *coded[1:])
                for name, values in rows.items():
                    values.append(MEASURES[name].of(seen))
                groups.append(recording.name)
                course = around(seen)
                noise, attack = noise + course[0], attack + course[1]
            advance(number + 1)
    if not attack:
        raise UserError(f"{recordings[0].path}: neither it nor the others hold a clip with an attack")
    found = {name: np.array(values) for name, values in rows.items()}
    return found, groups, 10 * np.log10(np.maximum(noise, 1e-12 * attack) / attack)


def around(clip: Clip) -> tuple[np.ndarray, float]:
    """Sums over onsets of the error's power in each millisecond, and of the attack's mean power."""
    estimate, target = clip.decoded.astype(float), clip.original.astype(float)
    error = target - estimate * (estimate @ target / max(estimate @ estimate, 1e-20))
    edges = np.rint(np.arange(round(2000 * REACH) + 1) * clip.sample_rate / 1000).astype(int)
    noise, attack = np.zeros(len(edges) - 1), 0.0
    first, after = round(REACH * clip.sample_rate), round(attacks.ATTACK[1] * clip.sample_rate)
    for place in np.rint(attacks.apart(clip.attacks) * clip.sample_rate).astype(int):
        if place - first >= 0 and place - first + edges[-1] <= len(target):
            piece = np.square(error[place - first :][: edges[-1]])
            noise += np.add.reduceat(piece, edges[:-1]) / np.diff(edges)
            attack += float(np.mean(np.square(target[place:][:after])))
    return noise, attack


def draw(path: Path, courses: dict[str, np.ndarray], *, force: bool = False) -> None:
    """The course of the error around attacks, a line a codec."""
    look = {"font.size": 8, "axes.linewidth": 0.6}
    with plots.written(path, (5.2, 3.0), look, dpi=200, force=force) as figure:
        axis = figure.subplots()
        axis.axvspan(*(1000 * edge for edge in attacks.PRE), color="#e8ecf0", lw=0, zorder=0)
        for name, course in courses.items():
            axis.plot(np.arange(len(course)) - 1000 * REACH + 0.5, course, lw=1.1, label=name)
        axis.axvline(0, color=plots.INK, lw=0.6)
        axis.set_xlabel("time from the attack (ms); grey: where pre-echo is measured")
        axis.set_ylabel("error (dB of the attack)")
        axis.set_xlim(-1000 * REACH, 1000 * REACH)
        figure.legend(frameon=False, fontsize=7, loc="outside right upper")


if __name__ == "__main__":
    raise SystemExit(main())
