"""From the trained bottleneck to neuromorphic simulators, and back: the same spikes, or a reason why not.

    Codec -> hardware.layer.fold -> Layer -> hardware.quantise.quantise -> IntegerLayer
          -> hardware.simulate (Lava, by the worker in `hardware.lava`) | hardware.netx | hardware.nir

It stands in the folder `hardware` of the repository, and is imported as `snn_codec.hardware`.

Importing this package needs no simulator; Lava never runs in this process.
"""
