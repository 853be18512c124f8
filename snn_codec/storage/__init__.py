"""Events on disk: HDF5 spike trains for analysis, and a bitstream that costs what theory says."""
