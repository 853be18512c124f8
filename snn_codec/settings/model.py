"""Settings of a codec: its encoder, bottleneck and decoder, and the grid that they share.

A kind of part is a frozen dataclass that derives from its role (`Encoder`, `Bottleneck`, `Decoder`), with a `kind` and
the place of its network as `module:class`, which is imported when a model is built. Nothing else has to know of it; a
kind defined outside of this package is known as soon as its module is imported.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from snn_codec.errors import UserError
from snn_codec.events import CHUNK_STEPS
from snn_codec.levels import MAX_LEVELS
from snn_codec.settings.fields import Part, Settings, imported, setting


class ModelPart(Part):
    """What encoders, bottlenecks and decoders have in common.

    Attributes:
        takes_level: The network is called with `level=` and applies the level itself; then there is no
            embedding of levels beside the bottleneck (`snn_codec.models.network`).
    """

    takes_level: ClassVar[bool] = False

    def check_model(self, model: Model) -> None:
        """See that the other settings of a model go with this part.

        Raises:
            UserError: They do not.
        """


class Encoder(ModelPart):
    """Audio `[batch, samples]` -> features `[batch, step, width]`.

    Attributes:
        encoder_network: `module:class` of the network.
        width: Size of the features that stand on both sides of the bottleneck.
    """

    encoder_network: ClassVar[str]
    width: int

    def feature_hertz(self, model: Model) -> NDArray[np.float64] | None:
        """Centre frequencies of the features in Hz, `[width]`; None where they have none, as features of networks."""
        return None

    def build_encoder(self, model: Model) -> Any:
        """The network, by default made of the hop and these settings."""
        return imported(self.encoder_network)(model.hop, self)


class Bottleneck(ModelPart):
    """Features `[batch, step, width]` -> events `[batch, unit, step]` -> features.

    Attributes:
        bottleneck_network: `module:class` of the network.
        entropy_training: `module:function` that trains an entropy model of its events (`training.rate.train_for`).
        search: `module:class` of the search for better events (`snn_codec.search.searcher`).
        has_spikes: Its events are spikes; else they are bits of numbers, whose rates and times mean nothing.
    """

    bottleneck_network: ClassVar[str]
    entropy_training: ClassVar[str] = "snn_codec.training.rate:train_for"
    search: ClassVar[str] = "snn_codec.search:Search"
    has_spikes: ClassVar[bool] = True

    def unit_hertz(self, model: Model) -> NDArray[np.float64] | None:
        """Centre frequencies of the units in Hz, `[units]`; None where they have none."""
        return None

    def build_bottleneck(self, model: Model) -> Any:
        """The network, by default made of the width, the units and these settings."""
        return imported(self.bottleneck_network)(model.encoder.width, model.units, self)


class Decoder(ModelPart):
    """Features `[batch, step, width]` -> audio `[batch, step * hop]`.

    Attributes:
        decoder_network: `module:class` of the network.
        takes_spikes: The network is given the events `[batch, unit, step]` themselves in place of features.
        width: As the encoder's.
    """

    takes_spikes: ClassVar[bool] = False
    decoder_network: ClassVar[str]
    width: int

    def build_decoder(self, model: Model) -> Any:
        """The network, by default made of the hop and these settings."""
        return imported(self.decoder_network)(model.hop, self)


@dataclass(frozen=True)
class Spectral(Encoder, Decoder):
    """Frame-rate encoder and decoder between an STFT and its inverse (`snn_codec.models.spectral`)."""

    encoder_network = "snn_codec.models.spectral:SpectralEncoder"
    decoder_network = "snn_codec.models.spectral:SpectralDecoder"

    kind: Literal["spectral"] = "spectral"
    window: int = setting(2048, "samples of the STFT's window", least=2)
    width: int = setting(256, "size of the features", least=1)
    blocks: int = setting(4, "ConvNeXt blocks", least=0)
    kernel: int = setting(7, "steps that a block's convolution sees", least=1)
    expansion: int = setting(3, "width of a block's perceptron, in widths", least=1)
    magnitude_exponent: float = setting(
        0.5, "the network sees magnitudes to this power", key="compression", above=0, most=1
    )

    def check_model(self, model: Model) -> None:
        if self.window % 2:
            raise UserError(f"a window must have an even number of samples, not {self.window}")
        if model.decoder is self and self.window % model.hop:
            raise UserError(
                f"the decoder's window must be a multiple of the hop, but they are {self.window} and {model.hop}"
            )


@dataclass(frozen=True)
class SEANet(Encoder, Decoder):
    """The paper's convolutional encoder and decoder on the waveform (`snn_codec.models.seanet`)."""

    encoder_network = "snn_codec.models.seanet:SEANetEncoder"
    decoder_network = "snn_codec.models.seanet:SEANetDecoder"

    kind: Literal["seanet"] = "seanet"
    filters: int = setting(32, "channels of the first convolution", least=2)
    width: int = setting(128, "size of the features", least=1)
    ratios: tuple[int, ...] = setting(
        (8, 8, 4, 2), "strides of the decoder; their product is the hop", least=2
    )
    residual_blocks: int = setting(1, "residual blocks for each ratio", least=0)
    lstm_layers: int = setting(2, "layers of the LSTM over steps; 0 for none", least=0)


@dataclass(frozen=True)
class Mel(Encoder):
    """A log mel spectrogram in an encoder's place (`snn_codec.models.mel`); `width` is the decoder's."""

    encoder_network = "snn_codec.models.mel:MelEncoder"

    kind: Literal["mel"] = "mel"
    channels: int = setting(32, "mel bands", least=1)
    window: int = setting(2048, "samples of the STFT's window", least=2)
    sample_rate: int = setting(22050, "of the audio, in Hz", least=1)
    highest_hz: float = setting(11025.0, "upper edge of the highest band", above=0)
    width: int = setting(256, "size of the decoder's features", least=1)

    def check_model(self, model: Model) -> None:
        if (
            not isinstance(model.bottleneck, MelBits)
            or model.conformer.layers
            or model.levels
            or model.units != 32 * self.channels
        ):
            raise UserError(_MEL_TOGETHER)


@dataclass(frozen=True)
class Spiking(Bottleneck):
    """Binary units in `groups`, each coding what those before it left over (`snn_codec.models.spiking`).

    One group is the paper's bottleneck, `z = H(BN(L x))`.
    """

    bottleneck_network = "snn_codec.models.spiking:SpikingBottleneck"

    kind: Literal["spiking"] = "spiking"
    groups: int = setting(1, "groups of units, each coding what those before it left over", least=1)
    surrogate: str = setting("fast_sigmoid", "surrogate gradient by name, or as module:attribute")
    slope: float = setting(2.0, "the surrogate's own parameter", above=0)
    beta: float = setting(0.0, "share of the membrane that is kept from step to step", least=0, below=1)
    reset: Literal["none", "zero", "subtract"] = setting("none", "what a spike does to the membrane")
    threshold: float = setting(0.0, "membrane above which a unit fires")

    def check(self) -> None:
        if self.beta == 0 and self.reset != "none":
            raise UserError("a neuron with beta 0 keeps nothing, so it has nothing to reset; use reset=none")


@dataclass(frozen=True)
class RVQ(Bottleneck):
    """Residual vector quantisation, the paper's baseline (`snn_codec.models.rvq`).

    A code that on average takes less than `revive_below` features of a batch starts anew at a feature. A batch of
    `Training` has 0.7 features for each of 1024 codes, so a higher bound would throw away codes that are in use.
    """

    bottleneck_network = "snn_codec.models.rvq:ResidualVectorQuantiser"
    has_spikes = False

    kind: Literal["rvq"] = "rvq"
    codebooks: int = setting(8, "codebooks, each for what those before it left over", least=1)
    codes: int = setting(1024, "codes in a codebook, a power of two", least=2)
    decay: float = setting(0.98, "of the moving averages that codes are", least=0, most=1)
    revive_below: float = setting(0.05, "features of a batch below which a code starts anew", least=0)


@dataclass(frozen=True)
class MelBits(Bottleneck):
    """The bits of a mel spectrogram's numbers (`snn_codec.models.mel`)."""

    bottleneck_network = "snn_codec.models.mel:MelBottleneck"
    has_spikes = False

    kind: Literal["mel_bits"] = "mel_bits"

    def check_model(self, model: Model) -> None:
        if not isinstance(model.encoder, Mel):
            raise UserError(_MEL_TOGETHER)


_MEL_TOGETHER = (
    "an encoder of kind mel and a bottleneck of kind mel_bits go together, with 32 units a channel, "
    "without conformer layers or levels"
)


@dataclass(frozen=True)
class Conformer(Settings):
    """Conformer layers on both sides of the bottleneck (`snn_codec.models.conformer`): none, unless `layers` is set."""

    layers: int = setting(0, "layers on each side of the bottleneck; 0 for none", least=0)
    heads: int = setting(4, "heads of the attention", least=1)
    feedforward: int = setting(256, "width of the feed-forward layers", least=1)
    kernel: int = setting(5, "steps that the convolution sees, odd", least=1)
    window: int = setting(14, "steps that the attention sees on both sides; 0 for all", least=0)
    dropout: float = setting(0.0, "share of activations dropped in training", least=0, below=1)

    def check(self) -> None:
        if self.kernel % 2 == 0:
            raise UserError(f"a conformer needs an odd kernel, not {self.kernel}")

    @property
    def is_absent(self) -> bool:
        return self.layers == 0


@dataclass(frozen=True)
class Model(Settings):
    """A codec: three interchangeable parts, what stands between them, and the grid that they share.

    `levels` is how many sparsity levels it has (mu-SPARSE: 32; else 0).
    """

    sample_rate: int = setting(22050, "of the coded audio, in Hz", least=1)
    hop: int = setting(512, "samples a step", least=1)
    units: int = setting(80, "units, each with one event or none a step", least=1)
    encoder: Encoder = setting(Spectral(), "audio to features")
    bottleneck: Bottleneck = setting(Spiking(), "features to events and back")
    decoder: Decoder = setting(Spectral(), "features to audio")
    margin_steps: int = setting(
        32, "steps that a chunk borrows from its neighbours on both sides", key="context_steps", least=0
    )
    conformer: Conformer = setting(Conformer(), "layers between the parts")
    levels: int = setting(0, "sparsity levels; 0 for none", least=0, most=MAX_LEVELS)
    chunk_steps: int = setting(CHUNK_STEPS, "steps of a chunk, which is coded by itself", least=2)

    def check(self) -> None:
        if self.margin_steps > self.chunk_steps // 2:
            raise UserError(
                f"margin_steps must be 0 to {self.chunk_steps // 2}, half a chunk, not {self.margin_steps}"
            )
        if self.decoder.width != self.encoder.width:
            raise UserError(
                f"encoder and decoder need one width, not {self.encoder.width} and {self.decoder.width}"
            )
        for part in (self.encoder, self.bottleneck, self.decoder):
            part.check_model(self)

    def unit_hertz(self) -> NDArray[np.float64] | None:
        """Centre frequencies of the units in Hz, `[units]`; None where they have none."""
        return self.bottleneck.unit_hertz(self)


# Fields that fingerprints have hashed from the beginning, at their default, too. Newer fields are left out at their
# default, so that they change no fingerprint; nothing is ever added here, and no default is ever changed.
_ALWAYS_HASHED = {
    Model: {"sample_rate", "hop", "units", "encoder", "bottleneck", "decoder", "margin_steps"},
    Spectral: {"window", "width", "blocks", "kernel", "expansion", "magnitude_exponent"},
    SEANet: {"filters", "width", "ratios", "residual_blocks", "lstm_layers"},
    Mel: {"channels", "window", "sample_rate", "highest_hz", "width"},
    Spiking: {"groups", "surrogate", "slope", "beta", "reset", "threshold"},
    RVQ: {"codebooks", "codes", "decay", "revive_below"},
    Conformer: {"layers", "heads", "feedforward", "kernel", "window", "dropout"},
}


def identity(settings: Settings) -> dict[str, Any]:
    """What of a model's settings its fingerprint stands for, by their names in files.

    A part that the model does not have, and a newer field at its default, are left out, so that models from before
    they existed keep their fingerprint.
    """
    always = next((_ALWAYS_HASHED[cls] for cls in type(settings).__mro__ if cls in _ALWAYS_HASHED), set())
    content = {}
    for entry in fields(settings):
        value = getattr(settings, entry.name)
        nested = isinstance(value, Settings)
        if (nested and value.is_absent) or (
            value == entry.default and entry.name not in always and entry.name != "kind"
        ):
            continue
        name = entry.metadata.get("key") or entry.name
        content[name] = identity(value) if nested else list(value) if isinstance(value, tuple) else value
    return content
