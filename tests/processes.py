"""Work for worker processes, which import this module: so it imports nothing that takes long."""

import os

from snn_codec.errors import UserError


def state():
    return 10


def times(state, job):
    if job == 13:
        raise UserError("thirteen: brings bad luck; leave it out")
    return state * job, os.getpid()


def dies(state, job):
    os._exit(9)


def missing(text):
    raise UserError(text)
