"""The Flight client of Arrow C++, as pyarrow has it: paths instead of commands."""

import json

import pyarrow as pa
import pyarrow.flight as flight
import pytest

ROWS = pa.table({"id": pa.array([1, 2], pa.int64()), "note": ["x", None]})


@pytest.fixture(scope="module")
def client(url):
    with flight.connect(url) as client:
        yield client


@pytest.fixture(scope="module")
def signed(client, token):
    return client.authenticate_basic_token("anyone", token)


@pytest.fixture(scope="module")
def options(signed):
    return flight.FlightCallOptions(headers=[signed])


def put(client, name, rows, headers):
    descriptor = flight.FlightDescriptor.for_path(*name)
    writer, answer = client.do_put(descriptor, rows.schema, flight.FlightCallOptions(headers=headers))
    with writer:
        writer.write_table(rows)
        writer.done_writing()
        told = answer.read()
        return json.loads(told.to_pybytes())


@pytest.fixture(scope="module")
def table(client, url, token):
    """A dataset to put into; a put to a path makes none."""
    import adbc_driver_flightsql.dbapi as dbapi

    with dbapi.connect(url, db_kwargs={"username": "x", "password": token}, autocommit=True) as connection:
        with connection.cursor() as cursor:
            cursor.adbc_ingest("puts", ROWS, mode="create", db_schema_name="pyarrow")
    return ("pyarrow", "puts")


def test_the_handshake_gives_a_bearer(signed, token):
    assert signed == (b"authorization", b"Bearer " + token.encode())


def test_a_wrong_password_is_refused(client):
    with pytest.raises(flight.FlightUnauthenticatedError, match="token"):
        client.authenticate_basic_token("anyone", "wrong")


def test_flights_are_listed_and_fetched(client, options):
    listed = {tuple(part.decode() for part in info.descriptor.path): info for info in client.list_flights(options=options)}
    assert {("demo", "airports"), ("demo", "flights")} <= set(listed)
    ticket = listed["demo", "airports"].endpoints[0].ticket
    assert client.do_get(ticket, options).read_all().num_rows == 3376
    some = list(client.list_flights(b"demo.f", options=options))
    assert [info.descriptor.path for info in some] == [[b"demo", b"flights"]]


@pytest.mark.parametrize("path", [("demo", "flights"), ("demo.flights",)])
def test_a_path_is_a_dataset(client, options, path):
    descriptor = flight.FlightDescriptor.for_path(*path)
    info = client.get_flight_info(descriptor, options)
    assert len(info.endpoints) == 1
    assert info.schema == client.get_schema(descriptor, options).schema
    table = client.do_get(info.endpoints[0].ticket, options).read_all()
    assert table.num_rows == 20000
    assert table.schema == info.schema


def test_a_put_is_a_push(client, table, signed):
    first = put(client, table, ROWS, [signed, (b"idempotency-key", b"once")])
    assert (first["status"], first["rows"]) == ("committed", 2)
    again = put(client, table, ROWS, [signed, (b"idempotency-key", b"once")])
    assert (again["status"], again["version"], again["receipt"]) == ("duplicate", first["version"], first["receipt"])
    other = pa.table({"id": pa.array([9], pa.int64()), "note": ["y"]})
    with pytest.raises(pa.ArrowException, match="(?i)idempotency"):
        put(client, table, other, [signed, (b"idempotency-key", b"once")])
    assert put(client, table, other, [signed])["version"] == first["version"] + 1


def test_dictionaries_come_in(client, table, signed, options):
    words = pa.table({"id": pa.array([7, 8], pa.int64()), "note": pa.array(["same", "same"]).dictionary_encode()})
    assert put(client, table, words, [signed])["rows"] == 2
    descriptor = flight.FlightDescriptor.for_path(*table)
    info = client.get_flight_info(descriptor, options)
    assert info.schema.field("note").type == pa.string()


def test_a_put_needs_a_dataset_and_a_right(client, table, signed, reader):
    with pytest.raises(KeyError):
        put(client, ("demo", "nothing"), ROWS, [signed])
    # What may not be seen is not told of; what may be seen may not be written to.
    with pytest.raises(KeyError):
        put(client, table, ROWS, [(b"authorization", b"Bearer " + reader.encode())])
    with pytest.raises(flight.FlightUnauthorizedError):
        put(client, ("demo", "flights"), ROWS, [(b"authorization", b"Bearer " + reader.encode())])
    with pytest.raises(flight.FlightUnauthorizedError):
        put(client, ("demo", "flights"), ROWS, [])


def test_bad_requests_are_told(client, options):
    for ticket in (b"", b"abc", b"\xff" * 100):
        with pytest.raises(pa.ArrowInvalid):
            client.do_get(flight.Ticket(ticket), options).read_all()
    with pytest.raises(NotImplementedError, match="nope"):
        list(client.do_action(flight.Action("nope", b""), options))
    with pytest.raises(NotImplementedError, match="DoExchange"):
        writer, _ = client.do_exchange(flight.FlightDescriptor.for_path("demo", "flights"), options)
        with writer:
            writer.begin(ROWS.schema)
            writer.done_writing()
    with pytest.raises(KeyError):
        client.get_flight_info(flight.FlightDescriptor.for_path("demo", "nothing"), options)


def test_actions_are_listed(client, options):
    actions = {action.type for action in client.list_actions(options)}
    assert {"CreatePreparedStatement", "CancelFlightInfo", "SetSessionOptions"} <= actions
