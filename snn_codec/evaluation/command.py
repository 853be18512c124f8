"""One coder measured on one split of a data set, as `snn-codec evaluate` does it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from snn_codec.evaluation.coders import Coder
    from snn_codec.evaluation.evaluate import Selection
    from snn_codec.parallel import Ranks


@dataclass(frozen=True)
class Data:
    """The recordings of one split, and the clips of them to measure.

    Raises:
        UserError: See `datasets.recordings`, `Selection` and `perceptual.check`.
    """

    folder: Path
    split: str
    selection: Selection

    @classmethod
    def of(
        cls,
        folder: Path,
        split: str,
        *,
        clips: int | None = None,
        perceptual: str = "",
        perceptual_clips: int = 50,
    ) -> Data:
        """By what the command line says: see its options of these names."""
        from snn_codec.evaluation import perceptual as measures
        from snn_codec.evaluation.evaluate import Selection

        names = tuple(name.strip() for name in perceptual.split(",") if name.strip())
        measures.check(names)
        return cls(folder, split, Selection(clips, names, perceptual_clips))


def evaluation(
    coder: Coder, data: Data, ranks: Ranks | None = None, *, shown: bool = True
) -> dict[str, Any] | None:
    """Everything that is known of one coder on the data: names, summary, rows; None on ranks other than the first.

    Raises:
        UserError: See `evaluate.evaluate`.
    """
    from snn_codec import progress
    from snn_codec.evaluation.evaluate import evaluate, scores_of
    from snn_codec.stats import summary
    from snn_codec.training.datasets import recordings

    paths = recordings(data.folder, data.split)
    first = ranks is None or ranks.is_main
    with progress.bar(f"evaluating {coder.name}", 1, shown=shown and first) as advance:
        rows = evaluate(
            coder, paths, advance, scores=scores_of(data.folder, paths), selection=data.selection, ranks=ranks
        )
    if not first:
        return None
    return {
        "model": coder.name,
        "fingerprint": coder.fingerprint,
        "data": str(data.folder),
        "split": data.split,
        "summary": summary(rows),
        "clips": rows,
    }
