"""`snn-codec listen build | serve | export | analyse | compare`."""

from snn_codec.cli.listen import analyse, build, compare, export, serve

HELP = "Run a MUSHRA listening test, analyse it, or make a page to compare versions."
COMMANDS = {"build": build, "serve": serve, "export": export, "analyse": analyse, "compare": compare}
