"""Print the distributions of the Python that runs this, one a line, save those that lack one of their files."""

from __future__ import annotations

import csv
import os
from importlib.metadata import distributions

for distribution in distributions():
    folder = distribution.locate_file("")
    files = [row[0] for row in csv.reader((distribution.read_text("RECORD") or "").splitlines())]
    # Compiled files come and go without harm.
    if all(os.path.exists(os.path.join(folder, file)) for file in files if not file.endswith(".pyc")):
        print(distribution.metadata["Name"])
