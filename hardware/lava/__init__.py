"""The bottleneck in a Lava program of one's own; the program runs in the Lava environment (Python 3.10).

    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from snn_codec.hardware.lava import EventSink, bottleneck_process, feature_source

    source = feature_source("piano.npz")                      # of `export netx piano.flac -o piano.net`
    bottleneck = bottleneck_process("piano.net")              # or the folder or name of a model
    sink = EventSink(like="piano.npz", late=bottleneck.latency)
    source.s_out.connect(bottleneck.s_in)
    bottleneck.s_out.connect(sink.s_in)                       # and to anything else
    steps = RunSteps(num_steps=source.steps + bottleneck.latency)
    bottleneck.run(condition=steps, run_cfg=Loihi2SimCfg(select_tag=bottleneck.tag))
    bottleneck.stop()
    sink.save("piano.h5")                                     # snn-codec decode piano.h5

Lava is imported when something is made, so that this module can be imported everywhere.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from snn_codec import api, checkpoints
from snn_codec.errors import UserError
from snn_codec.events import EventMatrix, Metadata, steps_for
from snn_codec.hardware import exchange, netx
from snn_codec.hardware.description import description
from snn_codec.hardware.integers import IntegerLayer
from snn_codec.hardware.layer import Layer
from snn_codec.storage import event_files

if TYPE_CHECKING:  # Lava is in one environment only
    from lava.lib.dl.netx.hdf5 import Network

    from snn_codec.hardware.lava.processes.files import FileSource
    from snn_codec.hardware.lava.processes.neurons import Bottleneck

ARITHMETICS = ("fixed", "float")


def bottleneck_process(
    source: str | os.PathLike | Layer | IntegerLayer, arithmetic: str = "fixed", **settings: Any
) -> Bottleneck:
    """The spiking bottleneck as a Lava process with the ports `s_in`, `a_in` and `s_out`.

    Args:
        source: A file of `export netx`, a shipped model, a checkpoint folder, or a layer.
        arithmetic: "fixed" for Loihi's integers, whose input is graded integers, or "float", whose input is features.
        settings: Of `snn_codec.hardware.quantise.quantise`, if `source` is a model and becomes integers.

    Raises:
        UserError: Lava is missing, `source` cannot be used (a file holds integers only), or settings are given for what
            is not quantised here.

    Example: above.
    """
    if arithmetic not in ARITHMETICS:
        raise UserError(f"arithmetic {arithmetic}: is not known; use one of {', '.join(ARITHMETICS)}")
    _need_lava()
    from snn_codec.hardware.lava.processes.neurons import Bottleneck

    layer = _layer(source, arithmetic, settings)
    if isinstance(layer, IntegerLayer) != (arithmetic == "fixed"):
        raise UserError(
            f"arithmetic {arithmetic}: {source} holds {type(layer).__name__}; give it to the other one"
        )
    return Bottleneck(description=description(layer))


def _layer(
    source: str | os.PathLike | Layer | IntegerLayer, arithmetic: str, settings: dict[str, Any]
) -> Layer | IntegerLayer:
    given = isinstance(source, (Layer, IntegerLayer))
    path = Path() if given else Path(source)
    is_file = path.is_file() or (path.suffix != "" and not path.is_dir())
    if settings and (given or is_file or arithmetic == "float"):
        what = "a layer" if given else source
        raise UserError(
            f"{what}: is not quantised here, so that {', '.join(settings)} would be ignored; leave it out"
        )
    if given:
        return source
    if is_file:
        return netx.read(source)[0]
    from snn_codec.hardware.features import full_scale
    from snn_codec.hardware.fold import fold
    from snn_codec.hardware.quantise import quantise
    from snn_codec.loading import load

    codec = load(Path(source))
    layer = fold(codec.bottleneck)
    return layer if arithmetic == "float" else quantise(layer, full_scale(codec, layer), **settings)


def netx_network(path: str | os.PathLike) -> Network:
    """The network that lava-dl makes from a file of `export netx`, with the shifts that netx does not read.

    Raises:
        UserError: lava-dl is missing, or the file cannot be used (`snn_codec.hardware.netx.read`).
    """
    netx.read(path)
    _need_lava()
    from snn_codec.hardware.lava.netx_network import load

    return load(path)


def feature_source(path: str | os.PathLike) -> FileSource:
    """A process that sends the features in a file, one step each, then zeros.

    A bottleneck in fixed point takes those of `export netx`, one in floating point those of `export nir`; a run
    with the other ones is refused.

    Attributes:
        steps: Of the recording.

    Raises:
        UserError: Lava is missing, or the file cannot be used.
    """
    features = exchange.features(path)
    return _source(path, features.T, features.dtype.str, features.shape[0])


def event_source(
    path: str | os.PathLike, recording: str | None = None, *, as_bits: bool = False
) -> FileSource:
    """A process that replays an event file: in step t the spikes `[N]` of step t, after the last one none.

    Args:
        path: A .spk or .h5 file.
        recording: Which one of several.
        as_bits: Send index bits, as those of rvq, as if they were spikes.

    Attributes:
        steps: Of the recording.

    Raises:
        UserError: Lava is missing, or the file cannot be used.
    """
    events = _events(path, recording)
    if not as_bits:
        checkpoints.check_spikes(path, events.fingerprint)
    packed = np.concatenate([np.packbits(chunk.T, axis=1) for chunk in events.chunks()])
    return _source(path, packed, "bits", events.n_units)


def _source(path: str | os.PathLike, rows: np.ndarray, dtype: str, width: int) -> FileSource:
    _need_lava()
    from snn_codec.hardware.lava.processes.files import FileSource

    file = tempfile.TemporaryFile()
    np.ascontiguousarray(rows).tofile(file)
    file.flush()
    source = FileSource(descriptor=file.fileno(), dtype=dtype, width=width, rows=len(rows), origin=str(path))
    source.file, source.steps = file, len(rows)  # the file lives as long as the process
    return source


class EventSink:
    """Collects spikes into events.

    Args:
        like: What the spikes are of: events, a .spk or .h5 file, or a file of features (`feature_source`).
        late: Steps from the first one of the simulation to that of the recording: the `latency` of what is between.

    Attributes:
        s_in: The port to connect, `[N]`.

    Raises:
        UserError: Lava is missing, or `like` cannot be used.
    """

    def __init__(self, like: EventMatrix | str | os.PathLike, late: int = 0):
        _need_lava()
        from snn_codec.hardware.lava.processes.files import FileSink

        self.units, self.metadata = _grid(like)
        self.late = late
        self.file = tempfile.TemporaryFile()
        self.process = FileSink(descriptor=self.file.fileno(), width=self.units)
        self.s_in = self.process.s_in

    def events(self) -> EventMatrix:
        """The events so far.

        Raises:
            UserError: The simulation has not run long enough.
        """
        self.file.seek(0)
        rows = np.fromfile(self.file, np.uint8).reshape(-1, -(-self.units // 8))[self.late :]
        steps = steps_for(self.metadata["n_samples"], self.metadata["hop"])
        if len(rows) < steps:
            raise UserError(f"the simulation made {len(rows)} of {steps} steps; run {self.late + steps}")
        return EventMatrix(
            np.unpackbits(rows[:steps], axis=1, count=self.units).T.astype(bool), **self.metadata
        )

    def save(self, path: str | os.PathLike, *, name: str = "simulated", force: bool = False) -> None:
        """Write the events to a .spk or .h5 file.

        Raises:
            UserError: As `events`, or the file cannot be written.
        """
        api.write_events(path, {name: self.events()}, force=force)


def _grid(like: EventMatrix | str | os.PathLike) -> tuple[int, Metadata]:
    if not isinstance(like, EventMatrix) and Path(like).suffix not in event_files.SUFFIXES:
        return exchange.grid(like)
    events = like if isinstance(like, EventMatrix) else _events(like, None)
    return events.n_units, events.metadata


def _events(path: str | os.PathLike, recording: str | None) -> EventMatrix:
    return api.read_events(path, recording)


def _need_lava() -> None:
    try:
        import lava.magma  # noqa: F401
    except ImportError as error:
        raise UserError(
            "Lava is not here; make its environment with `make lava-venv` and run this program there"
        ) from error
