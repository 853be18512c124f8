"""Evaluations of several coders on the same clips, each made once and kept in a folder."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from snn_codec import corpus
from snn_codec.errors import UserError
from snn_codec.evaluation import results
from snn_codec.evaluation.coder import Coder
from snn_codec.evaluation.command import Data, evaluation
from snn_codec.files import make_folder
from snn_codec.metrics import MEASURES
from snn_codec.parallel import Ranks


def evaluated(coder: Coder, data: Data, folder: Path, ranks: Ranks) -> dict[str, Any] | None:
    """The evaluation of a coder: the one kept in `folder`, or a new one, which then is kept.

    A kept one counts only for the same weights, recordings, MIDI, clips and measures, so that a run that was
    interrupted goes on at the coder where it was. None on ranks other than the first.

    Raises:
        UserError: As `evaluation`, or the folder cannot be used.
    """
    path = (
        folder / f"{re.sub(r'[^A-Za-z0-9._@-]+', '-', coder.name).strip('-')[-60:]}-{_key(coder, data)}.json"
    )
    kept = _kept(path)
    if not ranks.broadcast(kept is not None):
        kept = evaluation(coder, data, ranks)
        if kept is not None:
            make_folder(folder)
            results.write(path, kept, force=True)
    return kept | {"model": coder.name} if kept is not None and ranks.is_main else None


def _key(coder: Coder, data: Data) -> str:
    """12 hexadecimal digits that stand for all that decides the numbers."""
    found = corpus.recordings(data.folder, data.split)
    files = [
        (path.name, path.stat().st_size)
        for recording in found
        for path in (recording.path, recording.midi)  # onsets are measured where there is MIDI
        if path is not None
    ]
    chosen = data.selection
    heard = [chosen.perceptual, chosen.perceptual_clips] if chosen.perceptual else None
    parts = [coder.fingerprint, data.split, chosen.clips, heard, list(MEASURES), files]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


def _kept(path: Path) -> dict[str, Any] | None:
    """What is kept there, if it is whole; what is not is made again."""
    try:
        return results.read(path)
    except UserError:
        return None
