"""What every client's tests need: where the gateway listens and who may do what.

The tests are started by `tests/clients/tests/main.rs`, which starts the gateway and the interpreter of the environment
that a client installs into.
"""

import os

import pytest


@pytest.fixture(scope="session")
def url():
    """Where Flight SQL listens, `grpc://127.0.0.1:port`."""
    return os.environ["LAKEGATE_FLIGHT"]


@pytest.fixture(scope="session")
def address(url):
    """The same without the scheme."""
    return url.split("//")[1]


@pytest.fixture(scope="session")
def token():
    """The token of the instance's owner."""
    return os.environ["LAKEGATE_TOKEN"]


@pytest.fixture(scope="session")
def reader():
    """The token of a service that may read the demo, and nothing else."""
    return os.environ["LAKEGATE_READER"]
