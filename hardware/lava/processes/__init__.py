"""Lava processes that Lava does not have. Lava executes every module of this folder when it looks for process models,
so none of them imports another one or does anything but define."""
