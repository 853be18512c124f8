"""A neural audio codec for piano music whose code is a spike raster."""

__version__ = "0.1.0"
