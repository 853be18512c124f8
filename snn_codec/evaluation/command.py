"""One coder measured on one split of a data set, as `snn-codec evaluate` does it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from snn_codec.evaluation.coder import Coder
    from snn_codec.evaluation.evaluate import Selection
    from snn_codec.parallel import Ranks


@dataclass(frozen=True)
class Data:
    """The recordings of one split (None: of the whole folder), and the clips of them to measure.

    Raises:
        UserError: See `corpus.recordings`, `Selection` and `metrics.check`.
    """

    folder: Path
    split: str | None
    selection: Selection

    @classmethod
    def of(
        cls,
        folder: Path,
        split: str | None,
        *,
        clips: int | None = None,
        perceptual: str = "",
        perceptual_clips: int = 50,
    ) -> Data:
        """By what the command line says: see its options of these names."""
        from snn_codec import corpus, metrics
        from snn_codec.evaluation.evaluate import Selection

        names = tuple(name.strip() for name in perceptual.split(",") if name.strip())
        metrics.check(names)
        split = corpus.measured_split(folder, split)
        return cls(folder, split, Selection(clips, names, perceptual_clips))

    def __str__(self) -> str:
        return f"{self.split} of {self.folder}" if self.split else f"all of {self.folder}"


def evaluation(
    coder: Coder, data: Data, ranks: Ranks | None = None, *, shown: bool = True
) -> dict[str, Any] | None:
    """Everything that is known of one coder on the data: names, summary, rows; None on ranks other than the first.

    Raises:
        UserError: See `evaluate.evaluate`.
    """
    from snn_codec import corpus, progress
    from snn_codec.evaluation.evaluate import evaluate
    from snn_codec.evaluation.summary import summary

    found = corpus.recordings(data.folder, data.split)
    first = ranks is None or ranks.is_main
    with progress.bar(f"evaluating {coder.name}", 1, shown=shown and first) as advance:
        rows = evaluate(
            coder,
            [recording.path for recording in found],
            advance,
            scores=[recording.midi for recording in found],
            selection=data.selection,
            ranks=ranks,
        )
    if not first:
        return None
    return {
        "model": coder.name,
        "fingerprint": coder.fingerprint,
        "data": str(data.folder),
        "split": data.split or "all",
        "summary": summary(rows),
        "clips": rows,
    }
