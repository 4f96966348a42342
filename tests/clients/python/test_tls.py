"""TLS, with an authority that the client is told of."""

import os
import pathlib

import adbc_driver_flightsql.dbapi
import adbc_driver_manager
import pyarrow.flight as flight
import pytest
from adbc_driver_flightsql import DatabaseOptions


@pytest.fixture(scope="module")
def root():
    return pathlib.Path(os.environ["LAKEGATE_ROOT"]).read_text(encoding="ascii")


def test_adbc_trusts_the_authority(url, token, root):
    options = {"username": "x", "password": token, DatabaseOptions.TLS_ROOT_CERTS.value: root}
    with adbc_driver_flightsql.dbapi.connect(url, db_kwargs=options, autocommit=True) as connection:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM demo.flights")
            assert cursor.fetchone() == (20000,)


def test_adbc_refuses_who_is_not_trusted(url, token):
    options = {"username": "x", "password": token}
    with pytest.raises(adbc_driver_manager.Error, match="(?i)certificate|x509"):
        with adbc_driver_flightsql.dbapi.connect(url, db_kwargs=options, autocommit=True) as connection:
            connection.cursor().execute("SELECT 1")


def test_pyarrow_trusts_the_authority(address, token, root):
    with flight.connect(f"grpc+tls://{address}", tls_root_certs=root) as client:
        options = flight.FlightCallOptions(headers=[client.authenticate_basic_token("x", token)])
        info = client.get_flight_info(flight.FlightDescriptor.for_path("demo", "airports"), options)
        assert client.do_get(info.endpoints[0].ticket, options).read_all().num_rows == 3376
