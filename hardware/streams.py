"""An encoded recording as the input of somebody else's simulation.

lava      .npz: `data`, int32 [units, steps], for `lava.proc.io.source.RingBuffer(data=data)`, and the grid
nir       event data for graphs of the Neuromorphic Intermediate Representation (needs nir 1.0.8)
sonata    a SONATA spike file: our own HDF5 spike trains
shd       the layout of the Spiking Heidelberg Digits (snntorch, tonic)
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np

from snn_codec.cells import BLOCK_CELLS
from snn_codec.errors import UserError
from snn_codec.events import EventMatrix
from snn_codec.files import replacing
from snn_codec.storage import exporters, h5, npz

SUFFIXES = {"lava": ".npz", "nir": ".nirdata", "sonata": ".sonata.h5", "shd": ".shd.h5"}


def write(
    path: str | os.PathLike, kind: str, recordings: list[tuple[str, EventMatrix]], *, force: bool = False
) -> None:
    """Write recordings for one of `SUFFIXES`.

    Raises:
        UserError: The form cannot hold these recordings, or `path` cannot be written.
    """
    if kind == "lava":
        _write_lava(path, recordings, force)
    elif kind == "sonata":
        h5.write(path, recordings, force=force)
    else:
        exporters.export(path, {"nir": "nirdata"}.get(kind, kind), recordings, force=force)


def _write_lava(path: str | os.PathLike, recordings: list[tuple[str, EventMatrix]], force: bool) -> None:
    if len(recordings) != 1:
        raise UserError(
            f"{path}: a source of Lava plays one recording, not {len(recordings)}; choose one with --recording"
        )
    ((_, events),) = recordings
    data = npz.Parts((events.n_units, events.n_steps), np.int32, _by_unit(events))
    with replacing(path, force=force) as temporary:
        npz.write(temporary, {"data": data, "sample_rate": events.sample_rate, "hop": events.hop})


def _by_unit(events: EventMatrix) -> Iterator[np.ndarray]:
    """The dense matrix some units at a time, since an hour of 38 400 units is 6 GB of it: int32 `[units, T]`."""
    steps, units = events.indices()
    order = np.argsort(units, kind="stable")
    steps, units = steps[order], units[order]
    at_once = max(1, BLOCK_CELLS // events.n_steps)
    for first in range(0, events.n_units, at_once):
        last = min(first + at_once, events.n_units)
        some = slice(*np.searchsorted(units, [first, last]))
        dense = np.zeros((last - first, events.n_steps), np.int32)
        dense[units[some] - first, steps[some]] = 1
        yield dense
