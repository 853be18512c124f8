"""Entropy models: how likely each event is, learned from the events of one checkpoint.

`base` says what a bitstream asks of one; every kind is a module of its own, imported here, with a class that derives
from `EntropyModel`. The file beside a checkpoint's weights says of which kind it is.
"""

from snn_codec.storage.entropy_model.base import FILE_NAME, NO_SIDE, Coded, EntropyModel, Side
from snn_codec.storage.entropy_model.network import EntropyNetwork
from snn_codec.storage.entropy_model.thermometer import ThermometerModel

__all__ = ["FILE_NAME", "NO_SIDE", "Coded", "EntropyModel", "EntropyNetwork", "Side", "ThermometerModel"]
