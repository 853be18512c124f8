"""`python -m snn_codec`, the same as `snn-codec`."""

import sys

from snn_codec.cli import main

if __name__ == "__main__":
    sys.exit(main())
