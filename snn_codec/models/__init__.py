"""Encoders, bottlenecks and decoders: modules that a `Codec` is composed of.

An encoder maps audio `[batch, samples]` to features `[batch, step, width]`, a bottleneck features to the
reconstructed features and the spikes `[batch, unit, step]`, a decoder features to audio again.
"""
