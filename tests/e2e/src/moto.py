# moto, in which of several writers on one condition one wins: by itself it looks and writes in two steps, and another thread
# may come between.
import functools
import sys
import threading

from moto.s3.responses import S3Response
from moto.server import main

writing = threading.RLock()


def alone(method):
    @functools.wraps(method)
    def call(*args, **kwargs):
        with writing:
            return method(*args, **kwargs)

    return call


for name in ("put_object", "_key_response_post"):
    setattr(S3Response, name, alone(getattr(S3Response, name)))
main(sys.argv[1:])
