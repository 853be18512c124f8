"""Events on disk: HDF5 spike trains, the form for analysis."""
