"""Training a codec: data, losses, and the loop."""
