"""What the events mean: spike rasters against the notes that were played (section 4 of the paper)."""
