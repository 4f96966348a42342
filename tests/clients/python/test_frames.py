"""Data frames over ADBC: polars, pandas and duckdb."""

import adbc_driver_flightsql.dbapi
import duckdb
import polars
import pytest

AIRPORTS = "SELECT iata, latitude FROM demo.airports WHERE state = 'RI' ORDER BY iata"


@pytest.fixture
def connection(url, token):
    arguments = {"username": "x", "password": token}
    with adbc_driver_flightsql.dbapi.connect(url, db_kwargs=arguments, autocommit=True) as connection:
        yield connection


def test_polars_reads(connection):
    frame = polars.read_database(AIRPORTS, connection)
    assert frame.schema == {"iata": polars.String, "latitude": polars.Float64}
    assert frame["iata"].to_list() == ["BID", "OQU", "PVD", "SFZ", "UUU", "WST"]


def test_polars_writes(connection):
    frame = polars.DataFrame({"id": [1, 2, 3], "name": ["a", "b", None]})
    written = frame.write_database("frames.written", connection, if_table_exists="replace")
    assert written == 3
    again = polars.read_database("SELECT id, name FROM frames.written ORDER BY id", connection)
    assert again.equals(frame)
    frame.write_database("frames.written", connection, if_table_exists="append")
    assert polars.read_database("SELECT count(*) AS n FROM frames.written", connection)["n"].to_list() == [6]


def test_duckdb_reads_a_stream(connection):
    with connection.cursor() as cursor:
        cursor.execute("SELECT origin, delay FROM demo.flights")
        rows = cursor.fetch_record_batch()
        found = duckdb.sql("SELECT count(*), count(DISTINCT origin) FROM rows").fetchall()
    assert found == [(20000, 220)]
