"""What the container of an audio file announces, against what is there.

libsndfile trusts the header of some formats and the size of the file in others, and reads what is cut off as if it
were whole. `inspect` compares both, and says how to open the file so that libsndfile sees what is there.
"""

from snn_codec.containers.inspection import inspect
from snn_codec.containers.view import Finding, View

__all__ = ["Finding", "View", "inspect"]
