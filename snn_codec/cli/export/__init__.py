"""`snn-codec export netx | nir | spikes`."""

from snn_codec.cli.export import netx, nir, spikes

HELP = "Write the bottleneck, or events, for simulators of spiking networks."
COMMANDS = {"netx": netx, "nir": nir, "spikes": spikes}
