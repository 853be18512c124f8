"""Settings of a training run: optimisation, losses, augmentation, and what a later phase trains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from snn_codec.errors import UserError
from snn_codec.settings.fields import Part, Settings, setting
from snn_codec.settings.model import Model


@dataclass(frozen=True)
class Augmentation(Settings):
    """How training crops are varied, so that one sampled piano stands for many (`training.augmentation`)."""

    probability: float = setting(0.6, "of each variation of a crop", least=0, most=1)
    tuning_cents: float = setting(50.0, "most that a crop is tuned up or down", least=0)
    equaliser_db: float = setting(18.0, "range of a random equaliser", least=0)
    tilt_db: float = setting(6.5, "range of a random tilt of the spectrum", least=0)
    reverb: float = setting(0.3, "strongest random room, of the direct sound", least=0)
    noise_db: float = setting(-50.0, "loudest noise, relative to the crop; 0 for none", most=0)
    attenuation_db: float = setting(18.0, "most that a crop is turned down", least=0)


@dataclass(frozen=True)
class Loss(Settings):
    """Weights of the terms of the training loss (`training.losses`).

    That of `correlation` (`training.correlation`) grows during the warm-up.
    """

    stft: float = setting(1.0, "weight of the STFT distance", least=0)
    waveform: float = setting(5.0, "weight of the waveform's absolute error", least=0)
    si_snr: float = setting(0.3, "weight of the negative SI-SNR", least=0)
    residual: float = setting(0.25, "weight of what the bottleneck loses", least=0)
    correlation: float = setting(0.0, "weight of correlation between units", least=0)


@dataclass(frozen=True)
class Sparsity(Settings):
    """Sparsity loss (`training.sparsity`): none, unless `goal` is set.

    `theta` is the target, in bits per cell, of the paper's formats (`storage`, Eq. 7) or of the entropy coder
    (`rate`); with `fill` the entropy coder should need at least as much, so that a dense model's events do not say
    the same twice. Lambda grows from `start` to `stop`, shares of all steps. A model with levels has a target for each
    instead: `densest` events per cell (`storage`, Eq. 8) or bits per cell (`rate`) at level 0, half as many every
    `halving` levels; `fill` has no levels. `top_share` of the samples are prompted with level 0, the others with any.
    """

    goal: float = setting(0.0, "weight of the sparsity loss in the end; 0 for none", least=0)
    objective: Literal["storage", "rate", "fill"] = setting("storage", "what is counted")
    theta: float = setting(0.9, "target in bits per cell", least=0)
    start: float = setting(0.1, "share of the steps after which the weight grows", least=0, most=1)
    stop: float = setting(0.6, "share of the steps after which the weight is held", least=0, most=1)
    densest: float = setting(0.5, "target of level 0, per cell", above=0)
    halving: float = setting(6.0, "levels over which the target halves", above=0)
    top_share: float = setting(0.0, "share of samples with level 0", least=0, most=1)

    def check(self) -> None:
        if self.start > self.stop:
            raise UserError(f"start must not be beyond stop, but they are {self.start} and {self.stop}")


@dataclass(frozen=True)
class Training(Settings):
    """Optimisation of a codec (`snn_codec.training`).

    With `frozen_norms`, the bottleneck's batch norm stays that of the model that training starts from, so that
    which levels a batch happens to have does not move the thresholds of all others.
    """

    steps: int = setting(5000, "steps of the optimiser", least=1)
    batch: int = setting(8, "crops a step, on each device", least=1)
    seconds: float = setting(2.0, "length of a crop", above=0)
    optimizer: Literal["adamw", "muon"] = setting("adamw", "Muon is for matrices; the rest has AdamW")
    learning_rate: float = setting(2e-3, "highest learning rate of AdamW", above=0)
    muon_learning_rate: float = setting(5e-3, "highest learning rate of Muon", above=0)
    betas: tuple[float, float] = setting((0.9, 0.98), "AdamW's two decays", least=0, below=1)
    weight_decay: float = setting(1e-2, "of matrices and kernels", least=0)
    warmup: int = setting(300, "steps over which the learning rate grows", least=0)
    clip: float = setting(1.0, "largest norm of the gradient", above=0)
    frozen_norms: bool = setting(False, "hold the batch norms of the model that training starts from")
    ema: float = setting(0.999, "decay of the averaged weights", least=0, below=1)
    seed: int = setting(0, "of all random numbers", least=0, most=2**63 - 1)
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = setting("auto", "of the networks")
    validate_every: int = setting(1000, "steps between validations", least=1)
    validation_clips: int = setting(34, "clips that a validation measures, at most", least=1)
    checkpoint_minutes: float = setting(3.0, "between states to resume from", least=0)
    loss: Loss = setting(Loss(), "weights of the loss")
    sparsity: Sparsity = setting(Sparsity(), "sparsity loss")
    augmentation: Augmentation = setting(Augmentation(), "variation of the crops")


class Phase(Part):
    """What a training run trains: the codec itself, or a further decoder for a codec that exists.

    The kind is also the name that the decoder has in a checkpoint (`snn_codec.decoders`).

    Attributes:
        decoder_class: `module:class` of the decoder that is trained; empty if it is the codec itself.
    """

    decoder_class: ClassVar[str] = ""


@dataclass(frozen=True)
class Plain(Phase):
    """The first phase: encoder, bottleneck and decoder together."""

    kind: Literal["plain"] = "plain"


@dataclass(frozen=True)
class Coefficients(Phase):
    """Read-out and refinement of a codec of kind `mdct`, among coefficients (`training.coefficients`)."""

    kind: Literal["coefficients"] = "coefficients"


@dataclass(frozen=True)
class Discriminators(Settings):
    """Multi-scale complex-STFT discriminators (`models.discriminators`).

    Frames are a window's length over `overlap` apart; `stride` is the first layer's over frequency.
    """

    windows: tuple[int, ...] = setting((2048, 1024, 512), "samples of each discriminator's window", least=32)
    channels: int = setting(16, "channels of their layers", least=1)
    overlap: int = setting(2, "frames a window's length", least=1)
    stride: int = setting(2, "the first layer's, over frequency", least=1)
    magnitude_exponent: float = setting(
        0.5, "they see magnitudes to this power", key="compression", above=0, most=1
    )


@dataclass(frozen=True)
class Shares(Settings):
    """Shares of the decoder's gradient that the terms of the loss get, by the balancer (`training.adversarial`)."""

    stft: float = setting(1.0, "share of the STFT distance", least=0)
    mel: float = setting(2.0, "share of the mel distance", least=0)
    waveform: float = setting(0.5, "share of the waveform's error", least=0)
    si_snr: float = setting(1.0, "share of the SI-SNR", least=0)
    adversarial: float = setting(1.0, "share of the discriminators' verdict", least=0)
    features: float = setting(1.0, "share of the distance of their features", least=0)


@dataclass(frozen=True)
class Gan(Phase):
    """Second phase of any decoder, against discriminators (`training.adversarial`).

    With `frozen`, encoder and bottleneck stay as they are, so that the events do. The decoder sees the discriminators
    from step `start` on. They are trained in a step with `probability`, and not if their loss is below `enough`.
    """

    decoder_class = "snn_codec.decoders:Retrained"

    kind: Literal["gan"] = "gan"
    frozen: bool = setting(True, "keep encoder and bottleneck, so that events stay")
    loss: Literal["hinge", "squares"] = setting("hinge", "the adversarial loss")
    start: int = setting(100, "step from which on the decoder sees the discriminators", least=0)
    probability: float = setting(0.67, "that a step trains the discriminators", least=0, most=1)
    enough: float = setting(0.6, "loss of the discriminators below which they are not trained", least=0)
    learning_rate: float = setting(5e-4, "of the discriminators", above=0)
    betas: tuple[float, float] = setting((0.5, 0.9), "their optimiser's two decays", least=0, below=1)
    balance_decay: float = setting(0.99, "of the balancer's averages", least=0, below=1)
    margin_db: float = setting(0.8, "SI-SNR that the best decoder may lose", least=0)
    shares: Shares = setting(Shares(), "shares of the gradient")
    discriminators: Discriminators = setting(Discriminators(), "the discriminators")


@dataclass(frozen=True)
class Flow(Phase):
    """Flow-matching decoder at the step rate, of the plain decoder's magnitudes (`models.flow`).

    Up to `crossover`, in Hz, the plain spectrum stays. `sampler_steps` and `temperature` are of the sampler; `floor` is
    a magnitude, re a normalised signal's level. In training, conditions are `dropped` with this probability, and
    `spectral` weighs the spectral distance (by t^2).
    """

    decoder_class = "snn_codec.decoders:FlowSampler"

    kind: Literal["flow"] = "flow"
    window: int = setting(1024, "samples of the frames", least=2)
    crossover: float = setting(2000.0, "Hz up to which the plain decoder's spectrum stays", least=0)
    width: int = setting(320, "size of the network's features", least=1)
    blocks: int = setting(5, "ConvNeXt blocks", least=0)
    kernel: int = setting(7, "steps that a block's convolution sees", least=1)
    expansion: int = setting(3, "width of a block's perceptron, in widths", least=1)
    floor: float = setting(1e-4, "magnitude below which all counts as silence", above=0)
    sampler_steps: int = setting(6, "evaluations of the network for a sample", key="steps", least=1)
    temperature: float = setting(0.2, "scale of the noise that a sample starts from", least=0)
    dropped: float = setting(0.05, "share of conditions left out in training", least=0, most=1)
    spectral: float = setting(0.2, "weight of the STFT distance", least=0)
    margin_db: float = setting(3.0, "SI-SNR that the best decoder may lose", least=0)


@dataclass(frozen=True)
class Diffusion(Phase):
    """The paper's diffusion decoder, a U-Net on the waveform (`models.diffusion`): sizes of its nested blocks.

    Others as those of `Flow`. It is chosen by its mel distance alone: a sample has a waveform of its own.
    """

    decoder_class = "snn_codec.decoders:DiffusionSampler"

    kind: Literal["diffusion"] = "diffusion"
    channels: tuple[int, ...] = setting(
        (8, 32, 64, 128, 256, 512, 512, 1024, 1024), "channels of each block", least=1
    )
    factors: tuple[int, ...] = setting((1, 4, 4, 4, 2, 2, 2, 2, 2), "how much slower each block is", least=1)
    items: tuple[int, ...] = setting((1, 2, 2, 2, 2, 2, 2, 4, 4), "residual units of each block", least=1)
    sampler_steps: int = setting(100, "evaluations of the network for a sample", key="steps", least=1)
    dropped: float = setting(0.1, "share of conditions left out in training", least=0, most=1)
    spectral: float = setting(0.0, "weight of the STFT distance", least=0)
    margin_db: float = setting(1000.0, "SI-SNR that the best decoder may lose", least=0)

    def check(self) -> None:
        if len({len(self.channels), len(self.factors), len(self.items)}) > 1:
            raise UserError(
                "a diffusion decoder needs channels, factors and items for each of its blocks, not "
                f"{self.channels}, {self.factors}, {self.items}"
            )


@dataclass(frozen=True)
class Filling(Phase):
    """A decoder that fills in the spectrum of a plain decoder's sound (`models.filling`)."""

    decoder_class = "snn_codec.decoders:Filler"

    kind: Literal["filling"] = "filling"
    block: int = setting(256, "samples of a block", least=2)
    bands: int = setting(36, "bands that have gains", least=2)
    floor_bands: int = setting(16, "bands of the floor that files carry", least=2, most=64)
    steps: int = setting(
        12, "steps of a crop that are filled in; the floor is measured on all of it", least=1
    )
    without: float = setting(0.1, "share of crops that have no floor", least=0, most=1)
    width: int = setting(96, "size of the network's features", least=1)
    blocks: int = setting(3, "blocks of the network", least=0)
    spread: int = setting(1, "how many times as far apart each block sees as the one before", least=1)
    stft: float = setting(1.0, "weight of the STFT distance", least=0)
    mel: float = setting(0.5, "weight of the mel distance", least=0)
    si_snr: float = setting(0.1, "weight of the negative SI-SNR", least=0)
    margin_db: float = setting(6.0, "SI-SNR that the best decoder may lose", least=0)


@dataclass(frozen=True)
class Config(Settings):
    """All that determines a training run, besides its data. Of a later phase, the model is a checkpoint's."""

    model: Model = setting(Model(), "the codec")
    training: Training = setting(Training(), "optimisation")
    phase: Phase = setting(Plain(), "what is trained")
