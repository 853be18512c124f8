"""The codec: audio to events and back.

Long audio is cut on one canonical grid of chunks (`snn_codec.chunks`), so that whole recordings, streams and folders
give the same events. The spectral networks see no further than a chunk's margins, so their output is that of the whole
recording in one piece; the LSTM of SEANet could see further, and is cut there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snn_codec import decoders, floor, loudness
from snn_codec.audio import resampled
from snn_codec.cells import Sparse
from snn_codec.checkpoints import DEFAULT, PLAIN, Checkpoint, Weights
from snn_codec.chunks import Grid, Span, Window, batches, spans, windows
from snn_codec.errors import UserError
from snn_codec.events import Builder, EventMatrix
from snn_codec.levels import Prompts, valid
from snn_codec.models.network import level_of
from snn_codec.search import searcher
from snn_codec.settings import Model
from snn_codec.storage.entropy_model import EntropyModel
from snn_codec.tensors import TensorCodec

TOGETHER = (
    4  # chunks in a window of a decoder that sees no further than a margin, so that it has fewer margins
)


class Codec(TensorCodec):
    """The codec: a network (encoder, bottleneck, decoder), applied to recordings of any length.

    `Codec.load` gives a trained one; the constructor, random weights.

    Args:
        model: The settings of the three parts, and of the grid of steps and chunks that they share.

    Attributes:
        entropy_model: The entropy model of this checkpoint's events (`snn_codec.storage.entropy_model`), which makes
            bitstreams shorter; None if none was trained.
        active_decoder: A further decoder (`snn_codec.decoders`) that replaces the codec's own; None if there is none.
        decoders: Names of all decoders in the checkpoint.
        floor_bands: Bands of the floor that is measured for them (`snn_codec.floor`); 0 if none needs it.

    Raises:
        UserError: The settings contradict each other.

    Examples:
        >>> codec = Codec.load("free")  # doctest: +SKIP
        >>> events = codec.encode(*read_audio("bach.flac"))  # doctest: +SKIP
        >>> sound = codec.decode(events)  # doctest: +SKIP
    """

    def __init__(self, model: Model):
        super().__init__(model)
        self.entropy_model: EntropyModel | None = None
        self.decoders: tuple[str, ...] = (PLAIN,)
        self.floor_bands = 0

    def __repr__(self) -> str:
        model, parts = self.settings, sum(weight.numel() for weight in self.parameters())
        kinds = " -> ".join(part.kind for part in (model.encoder, model.bottleneck, model.decoder))
        return (
            f"Codec({kinds}, {model.units} units at {model.sample_rate / model.hop:.2f} Hz, "
            f"{parts:,} parameters, model {self.fingerprint})"
        )

    def encode(
        self,
        audio: np.ndarray,
        sample_rate: int,
        *,
        level: float | np.ndarray | None = None,
        batch_size: int = 1,
        search: int = 0,
    ) -> EventMatrix:
        """Encode audio as events.

        Args:
            audio: float `[samples]`, or `[samples, channels]`, whose mean is coded.
            sample_rate: Of `audio`, in Hz, a whole number; audio at another rate than the codec's is resampled.
            level: The sparsity level, for a model that has levels: from 0, the most events, to `levels` - 1, in
                eighths; or the code of each chunk's level, as in `EventMatrix.levels`. Default: a quarter of the way
                up.
            batch_size: Chunks computed at once; useful on a GPU.
            search: Steps of a search for better events in each chunk (`snn_codec.search`): of an optimiser; or, in a
                model such as `wide`, passes, of which one is enough. 0 takes the encoder's events.

        Returns:
            The events, `[units, ceil(samples / hop)]` at the codec's rate.

        Raises:
            UserError: The audio is empty, not float, not finite, 56,000 times full scale, or has more than two
                dimensions; the sample rate is no positive whole number; the model has no such level, or nothing to
                search in.

        Examples:
            >>> codec.encode(np.zeros(22050, np.float32), 22050)  # doctest: +SKIP
            EventMatrix(80 units x 44 steps, 1757 events, 1.000 s)
        """
        return self.encode_blocks([audio], sample_rate, level=level, batch_size=batch_size, search=search)

    def encode_blocks(
        self,
        blocks: Iterable[np.ndarray],
        sample_rate: int,
        *,
        level: float | np.ndarray | None = None,
        batch_size: int = 1,
        search: int = 0,
        progress: Callable[[float], None] = lambda seconds: None,
    ) -> EventMatrix:
        """Encode audio that arrives in blocks of any lengths: the same events as `encode`, with bounded memory.

        Args:
            blocks: float `[samples]` or `[samples, channels]` each; not one array, which is for `encode`.
            sample_rate: As in `encode`, as are `level`, `batch_size` and `search`.
            progress: Called after each chunk with the seconds of audio that are encoded.

        Raises:
            UserError: As `encode`, or `blocks` is one array.
        """
        if isinstance(blocks, (np.ndarray, Tensor)):
            raise UserError(
                f"blocks must be several arrays, not one of shape {list(blocks.shape)}, whose rows would be taken for "
                "blocks; encode takes one array"
            )
        counted = _Counted(resampled(blocks, sample_rate, self.settings.sample_rate))
        grid, prompts = Grid.of(self.settings), self.prompts(level)
        if search:
            coded = searcher(self, search, self.entropy_model).searched(windows(counted, grid), prompts.codes)
        else:
            quantise = self.quantise_sparse if self.lists_events else self.quantise
            coded = self._coded(counted, batch_size, quantise, prompts)
        builder, done = Builder(self.settings.units), 0
        codes: list[int] = []
        floors: list[np.ndarray] = []
        for window, spikes in coded:
            builder.append(spikes if isinstance(spikes, Sparse) else (spikes > 0.5).cpu().numpy())
            if self.floor_bands:
                floors.append(self._floor(window, spikes, prompts.codes(len(codes) + 1)[-1:]))
            codes.append(window.loudness)
            done += window.steps * grid.hop
            progress(done / self.settings.sample_rate)
        return EventMatrix(
            builder.build(),
            self.settings.sample_rate,
            grid.hop,
            counted.samples,
            fingerprint=self.fingerprint,
            loudness=np.array(codes, np.uint8),
            levels=prompts.codes(len(codes)),
            chunk_steps=grid.chunk_steps,
            floor=np.stack(floors) if floors else None,
        )

    def _floor(self, window: Window, spikes: Tensor | Sparse, code: np.ndarray) -> np.ndarray:
        """How loud is what the events of a window's chunk, `[unit, step]`, leave out: uint8 `[band]`.

        The events of the neighbours are not known yet, so the first and the last half step have no say.
        """
        hop, level = self.settings.hop, self.level_tensor(code[None])
        with self.computing():
            if isinstance(spikes, Sparse):
                features = self.dequantise_sparse(spikes, level)
            else:
                features = self.dequantise(spikes[None].float(), level)
            said = self.decoder.read_out(features, level)[0].cpu().numpy()
        audio = window.audio[window.before * hop : (window.before + window.steps) * hop]
        return floor.measure(audio - said, self.floor_bands, self.settings.sample_rate, edge=hop // 2)

    def membranes(self, audio: np.ndarray, sample_rate: int) -> np.ndarray:
        """Membranes minus threshold, float32 `[units, steps]`; `encode` gives an event where one is positive.

        Raises:
            UserError: As `encode`, or the bottleneck has no neurons.
        """
        if not hasattr(self.bottleneck, "encode_with_membrane"):
            raise UserError(f"a bottleneck of kind {self.settings.bottleneck.kind} has no membranes")
        blocks = resampled([audio], sample_rate, self.settings.sample_rate)

        def membrane(features: Tensor, level: Tensor | None) -> Tensor:
            given = level_of(self.settings.bottleneck, level)
            return self.bottleneck.encode_with_membrane(features, **given)[1]

        coded = self._coded(blocks, 1, membrane, self.prompts(None))
        return np.concatenate([part.cpu().numpy() for _, part in coded], 1)

    def _coded(
        self,
        blocks: Iterable[np.ndarray],
        batch_size: int,
        code: Callable[[Tensor, Tensor | None], Tensor | list[Sparse]],
        prompts: Prompts,
    ) -> Iterator[tuple[Window, Any]]:
        """Each window, and `code` of its features in the steps of the chunk, `[unit, step]`."""
        done = 0
        for batch in batches(windows(blocks, Grid.of(self.settings)), batch_size):
            audio = torch.from_numpy(np.stack([window.audio for window in batch])).to(self.device)
            level = self.level_tensor(prompts.codes(done + len(batch))[done:, None])
            with self.computing():
                coded = code(self.analyse(audio, level), level)
            for window, chunk in zip(batch, coded, strict=True):
                inner = window.before, window.before + window.steps
                yield window, chunk.part(*inner) if isinstance(chunk, Sparse) else chunk[:, slice(*inner)]
            done += len(batch)

    def decode(self, events: EventMatrix) -> np.ndarray:
        """Decode events to audio: float32 `[events.n_samples]` at `events.sample_rate`, mono.

        Raises:
            UserError: The events were made by another model.

        Examples:
            >>> sound = codec.decode(read_events("bach.spk"))  # doctest: +SKIP
        """
        return np.concatenate(list(self.decode_blocks(events)))

    def decode_blocks(self, events: EventMatrix) -> Iterator[np.ndarray]:
        """Decode chunk by chunk: float32 `[samples]` blocks of a chunk each, in bounded memory.

        Raises:
            UserError: As `decode`.
        """
        self._check(events)
        grid, tail = Grid.of(self.settings), np.zeros(0, np.float32)
        hop, fade = grid.hop, 0
        if self.active_decoder:
            fade = min(grid.margin_steps, self.active_decoder.fade_steps) * hop
            grid = grid._replace(margin_steps=grid.margin_steps + self.active_decoder.margin_steps)
        together = TOGETHER if self.lists_events and not fade else 1
        for span in spans(events.n_steps, grid._replace(chunk_steps=together * grid.chunk_steps)):
            codes, floors = (_by_step(found, span, grid) for found in (events.levels, events.floor))
            with self.computing():
                level = self.level_tensor(codes)
                floor_codes = torch.from_numpy(floors).to(self.device) if floors.size else None
                sound = self._sound(self._inputs(events, span, level), level, span.first, floor_codes)
            audio = sound[0].float().cpu().numpy()
            for start in range(span.start, span.stop, grid.chunk_steps):
                begin, end = start * hop, min((start + grid.chunk_steps) * hop, events.n_samples)
                gain = loudness.gain(events.loudness, grid.chunk_steps * hop, begin, end)
                chunk = audio[begin - span.first * hop : end - span.first * hop]
                yield decoders.faded(tail, chunk) * gain
            tail = audio[(span.stop - span.first) * hop :][:fade]

    def _inputs(self, events: EventMatrix, span: Span, level: Tensor | None) -> Tensor:
        """What a decoder sees of a window of events."""
        if self.lists_events:
            return self.dequantise_sparse(events.cells.part(span.first, span.last), level)
        spikes = events.window(span.first, span.last)[None].astype(np.float32)
        return self.dequantise(torch.from_numpy(spikes).to(self.device), level)

    def _check(self, events: EventMatrix) -> None:
        if not isinstance(events, EventMatrix):
            raise TypeError(
                f"events must be an EventMatrix, not {type(events).__name__}; snn_codec.read_events reads a file"
            )
        ours = self.fingerprint
        if events.fingerprint != ours:
            raise UserError(
                f"these events were made by the model {events.fingerprint or '(none)'}, "
                f"but this model is {ours}; decode with the model that encoded"
            )
        model = self.settings
        grid = (events.n_units, events.sample_rate, events.hop, events.chunk_steps, len(events.loudness))
        expected = (model.units, model.sample_rate, model.hop, model.chunk_steps, events.n_chunks)
        if grid != expected:
            raise UserError(
                f"units, sample rate, hop, steps a chunk and number of loudness codes are {grid}, where this model "
                f"has {expected}"
            )
        if (len(events.levels) > 0) != (model.levels > 0) or (
            model.levels and not valid(events.levels, model.levels)
        ):
            raise UserError(
                f"these events have {'a' if len(events.levels) else 'no'} level, and this model "
                f"has {model.levels or 'no'} levels; decode with the model that encoded"
            )
        bands = events.floor.shape[1]
        if self.active_decoder and bands not in (0, self.floor_bands):
            raise UserError(
                f"these events have a floor of {bands} bands, and the decoder {self.active_decoder.name} takes "
                f"{self.floor_bands}; use the decoder {PLAIN}, or that of the checkpoint that encoded"
            )

    def save(self, path: str | Path, *, weights: Weights = "float32", force: bool = False) -> None:
        """Write a checkpoint folder (`snn_codec.checkpoints`), without further decoders.

        Args:
            path: The folder; made if it does not exist.
            weights: "float32"; or "float16" or "int8" (8-bit integers with a scale a row), which round matrices and
                leave out what only training needs. A rounded model has another fingerprint.
            force: Replace files that exist.

        Raises:
            UserError: The files exist (without `force`) or cannot be written, or there is no such kind of weights.

        Examples:
            >>> codec.save("my-model")  # doctest: +SKIP
        """
        Checkpoint(Path(path)).save_codec(
            self.settings, self.state_dict(), self.entropy_model, weights=weights, force=force
        )

    @classmethod
    def load(
        cls,
        name: str | Path = DEFAULT,
        device: str | torch.device = "cpu",
        *,
        decoder: str = PLAIN,
        sampling: decoders.Sampling | None = None,
    ) -> Codec:
        """Load a codec, in evaluation mode.

        Args:
            name: A shipped model (`free`, `free-plain`, `mu-sparse`, `rvq`, `sparse`, `wide`) or a checkpoint folder.
            device: What to compute on, as PyTorch names it.
            decoder: The decoder to decode with, one of `codec.decoders`.
            sampling: Sampler steps, seed and guidance, for decoders that sample.

        Raises:
            UserError: There is no such checkpoint, decoder or device, a file is damaged, or `sampling` is of another
                decoder.

        Examples:
            >>> Codec.load("free", decoder="gan").decoders  # doctest: +SKIP
            ('plain', 'gan', 'flow')
        """
        checkpoint = Checkpoint.find(name)
        codec = cls(checkpoint.settings)
        checkpoint.load_codec(codec)
        codec.entropy_model = checkpoint.entropy_model
        codec.decoders = (PLAIN, *checkpoint.decoders)
        codec.floor_bands = checkpoint.floor_bands
        try:
            codec = codec.to(device).eval()
            torch.zeros(1, device=device).cpu()  # nothing comes back from the device meta
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"device {device}: cannot be used here ({reason}); use the device cpu") from error
        if decoder != PLAIN:
            codec.active_decoder = decoders.load(checkpoint.folder, decoder, codec, sampling)
        elif sampling is not None:
            sampling.check(PLAIN)
        return codec

    from_pretrained = load  # the name that users of hubs know


def _by_step(codes: np.ndarray, span: Span, grid: Grid) -> np.ndarray:
    """Codes of chunks, which may be none, as those of a window's steps: `[1, step, ...]`."""
    return codes[np.arange(span.first, span.last) // grid.chunk_steps][None] if len(codes) else codes[None]


class _Counted:
    """Blocks, and how many samples they held so far."""

    def __init__(self, blocks: Iterable[np.ndarray]):
        self.blocks, self.samples = blocks, 0

    def __iter__(self) -> Iterator[np.ndarray]:
        for block in self.blocks:
            self.samples += len(block)
            yield block
