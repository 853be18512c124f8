"""Settings of models of many units and few events: a lapped transform on either side of a thermometer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from snn_codec.errors import UserError
from snn_codec.settings.fields import setting
from snn_codec.settings.model import Bottleneck, Decoder, Encoder
from snn_codec.thermometer import Layout

if TYPE_CHECKING:
    from snn_codec.settings.model import Model


@dataclass(frozen=True)
class Mdct(Encoder, Decoder):
    """Coefficients of a lapped transform whose blocks are the hop (`snn_codec.models.mdct`)."""

    encoder_network = "snn_codec.models.mdct:MdctEncoder"
    decoder_network = "snn_codec.models.mdct:MdctDecoder"
    takes_level = True

    kind: Literal["mdct"] = "mdct"
    width: int = setting(1024, "bins that are coded, from the lowest", least=8)
    finest: float = setting(
        0.4, "quantiser's step at level 0, relative to the loudest step's RMS, times sqrt(2)", above=0
    )
    per_octave: float = setting(7.0, "levels that double the quantiser's step", above=0)
    refined: int = setting(512, "bins that the decoder refines", least=8)
    channels: int = setting(40, "channels of the refinement", least=1)
    blocks: int = setting(2, "blocks of the refinement", least=0)

    def check_model(self, model: Model) -> None:
        if self.width > model.hop or self.refined > self.width:
            raise UserError(
                f"a block of {model.hop} samples has as many bins; width {self.width} and refined {self.refined} "
                "must be no more, and refined no more than width"
            )

    def feature_hertz(self, model: Model) -> NDArray[np.float64]:
        return (np.arange(self.width) + 0.5) * model.sample_rate / (2 * model.hop)


@dataclass(frozen=True)
class Thermometer(Bottleneck):
    """Units of both signs at rising thresholds for every coefficient (`snn_codec.models.thermometer`)."""

    bottleneck_network = "snn_codec.models.thermometer:Thermometer"
    entropy_training = "snn_codec.training.thermometer_rate:train_for"
    search = "snn_codec.rate_distortion:Choice"

    kind: Literal["thermometer"] = "thermometer"
    edges: tuple[int, ...] = setting((256, 448, 640, 1024), "bins below which bands end, rising", least=1)
    thresholds: tuple[int, ...] = setting(
        (36, 22, 14, 8), "thresholds of each sign in a band's bins", least=1, most=255
    )
    uniform: int = setting(12, "thresholds that are evenly spaced", least=1)
    ratio: float = setting(1.1, "growth from one threshold to the next beyond", above=1)
    scales: int = setting(12, "band scales that are trained", least=2)
    surrogate: str = setting("fast_sigmoid", "surrogate gradient by name, or as module:attribute")
    slope: float = setting(2.0, "the surrogate's own parameter", above=0)

    def check(self) -> None:
        if len(self.edges) != len(self.thresholds) or list(self.edges) != sorted(set(self.edges)):
            raise UserError("edges must rise, and thresholds must have a number for each of them")

    def check_model(self, model: Model) -> None:
        units = Layout(self.edges, self.thresholds).units
        if self.edges[-1] != model.encoder.width or model.units != units:
            raise UserError(
                f"this thermometer has {units} units for {self.edges[-1]} bins, where the model has units = "
                f"{model.units} and the encoder {model.encoder.width}; make them equal"
            )

    def unit_hertz(self, model: Model) -> NDArray[np.float64] | None:
        hertz = model.encoder.feature_hertz(model)
        return None if hertz is None else hertz[Layout(self.edges, self.thresholds).bin]
