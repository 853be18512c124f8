"""Measuring a codec: metrics, and their means over a data set."""
