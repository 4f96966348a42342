"""The ADBC driver for Flight SQL, by its DB-API. Its core is the Go driver, which ADBC's other languages share."""

import datetime
import decimal
import threading
import time

import adbc_driver_flightsql.dbapi
import adbc_driver_manager
import pyarrow as pa
import pytest
from adbc_driver_flightsql import ConnectionOptions, DatabaseOptions

THREE = pa.table({"id": pa.array([1, 2, 3], pa.int64()), "name": ["a", "b", None]})
# Nothing ends it but a deadline or a cancel.
ENDLESS = "SELECT sum(a.delay * b.delay * c.delay) FROM demo.flights a, demo.flights b, demo.flights c"


def open_connection(url, token=None, **options):
    kwargs = {DatabaseOptions.WITH_COOKIE_MIDDLEWARE.value: "true", **options}
    if token:
        kwargs |= {"username": "anyone", "password": token}
    return adbc_driver_flightsql.dbapi.connect(url, db_kwargs=kwargs, autocommit=True)


@pytest.fixture
def connection(url, token):
    with open_connection(url, token) as connection:
        yield connection


@pytest.fixture
def cursor(connection):
    with connection.cursor() as cursor:
        yield cursor


@pytest.fixture
def ask(cursor):
    def ask(sql, parameters=None):
        cursor.execute(sql, parameters)
        return cursor.fetch_arrow_table()

    return ask


def test_rows_and_their_types(ask):
    table = ask("SELECT iata, name, latitude FROM demo.airports WHERE state = 'RI' ORDER BY iata")
    assert table.schema.types == [pa.string(), pa.string(), pa.float64()]
    assert table["iata"].to_pylist() == ["BID", "OQU", "PVD", "SFZ", "UUU", "WST"]
    assert ask("SELECT arrow_typeof(1), 1.5, DATE '2026-01-02'").schema.types[1:] == [pa.float64(), pa.date32()]
    assert ask("SELECT count(*) FROM demo.flights").to_pylist() == [{"count(*)": 20000}]
    assert ask("SELECT * FROM demo.airports WHERE false").num_rows == 0


def test_a_bearer_token_does_as_a_password(url, token):
    with open_connection(url, **{DatabaseOptions.AUTHORIZATION_HEADER.value: f"Bearer {token}"}) as connection:
        assert connection.adbc_current_catalog == "lake"


def test_nobody_may_read_what_is_public(url):
    with open_connection(url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM demo.airports")
        assert cursor.fetchone() == (3376,)
        with pytest.raises(adbc_driver_manager.Error, match="(?i)denied|token|sign in"):
            cursor.adbc_ingest("theirs", THREE, mode="create", db_schema_name="nobodys")


def test_a_wrong_password_is_told(url):
    with pytest.raises(adbc_driver_manager.Error, match="lg_|token"):
        with open_connection(url, "lg_not_a_token") as connection, connection.cursor() as cursor:
            cursor.execute("SELECT 1")


def test_parameters_of_every_spelling(ask):
    airports = "SELECT iata FROM demo.airports WHERE state = {} AND latitude > {} ORDER BY iata LIMIT 1"
    for spelling in (("?", "?"), ("$1", "$2")):
        assert ask(airports.format(*spelling), ("RI", 41.5)).to_pylist() == [{"iata": "OQU"}], spelling
    assert ask("SELECT $2 || '-' || $1 AS x", ("a", "b")).to_pylist() == [{"x": "b-a"}]
    # The tenth comes after the ninth, not after the first.
    places = ", ".join(f"${n} AS c{n}" for n in range(1, 12))
    row = ask(f"SELECT {places}", [f"v{n}" for n in range(1, 12)]).to_pylist()[0]
    assert row == {f"c{n}": f"v{n}" for n in range(1, 12)}


def test_parameters_of_every_type(ask):
    for value in (
        None,
        True,
        -5,
        2**40,
        1.5,
        "text with 'quotes' and -- dashes",
        "",
        b"\x00\xff",
        datetime.date(2026, 2, 28),
        datetime.datetime(2026, 2, 28, 12, 30, 15, 250_000),
        decimal.Decimal("123.45"),
    ):
        assert ask("SELECT $1 AS x", (value,))["x"].to_pylist() == [value], repr(value)
    assert ask("SELECT count(*) AS n FROM demo.earthquakes WHERE mag > ? AND mag < ?", (5, 6.5))["n"].to_pylist()[0] > 0


def test_wrong_parameters_are_told(ask):
    with pytest.raises(adbc_driver_manager.Error, match="parameter"):
        ask("SELECT $1 || $2", ("one",))
    with pytest.raises(adbc_driver_manager.Error, match="parameter"):
        ask("SELECT $1", ("one", "two"))
    with pytest.raises(adbc_driver_manager.Error):
        ask("SELECT count(*) FROM demo.airports WHERE latitude > $1", ("north",))


def test_a_prepared_statement_tells_its_parameters(cursor):
    parameters = cursor.adbc_prepare("SELECT iata FROM demo.airports WHERE state = $1 AND latitude > $2")
    assert parameters.types == [pa.string(), pa.float64()]
    assert cursor.adbc_prepare("SELECT 1") in (None, pa.schema([]))


def test_the_schema_is_told_without_running(cursor):
    schema = cursor.adbc_execute_schema(ENDLESS.replace("sum(", "1 AS one, sum("))
    assert schema.names[0] == "one"


def test_many_rows_of_parameters(connection, cursor):
    # The driver binds rows to a query one by one.
    cursor.executemany("SELECT $1", [(1,), (2,)])
    # Bound at once they are told to come one by one.
    cursor.adbc_statement.set_sql_query("SELECT $1 AS x")
    cursor.adbc_statement.prepare()
    cursor.adbc_statement.bind_stream(pa.table({"1": [1, 2]}).to_reader())
    with pytest.raises(adbc_driver_manager.NotSupportedError, match="one row"):
        cursor.adbc_statement.execute_query()


def test_what_there_is(connection):
    everything = connection.adbc_get_objects(depth="all").read_all().to_pylist()
    assert [catalog["catalog_name"] for catalog in everything] == ["lake"]
    schemas = {schema["db_schema_name"]: schema for schema in everything[0]["catalog_db_schemas"]}
    assert {"demo", "information_schema"} <= set(schemas)
    tables = {table["table_name"]: table for table in schemas["demo"]["db_schema_tables"]}
    columns = [column["column_name"] for column in tables["airports"]["table_columns"]]
    assert columns == ["iata", "name", "city", "state", "country", "latitude", "longitude"]
    some = connection.adbc_get_objects(depth="tables", db_schema_filter="de_o", table_name_filter="f%")
    found = some.read_all().to_pylist()[0]["catalog_db_schemas"]
    assert [[table["table_name"] for table in schema["db_schema_tables"]] for schema in found] == [["flights"]]
    # An escaped sign stands for itself.
    none = connection.adbc_get_objects(depth="tables", db_schema_filter=r"de\_o").read_all().to_pylist()
    assert not none or not none[0]["catalog_db_schemas"]
    elsewhere = connection.adbc_get_objects(depth="catalogs", catalog_filter="other").read_all()
    assert elsewhere.num_rows == 0


def test_a_tables_schema(connection):
    schema = connection.adbc_get_table_schema("airports", db_schema_filter="demo")
    assert schema.field("latitude").type == pa.float64()
    assert schema.field("iata").metadata[b"ARROW:FLIGHT:SQL:TYPE_NAME"] == b"string"
    with pytest.raises(adbc_driver_manager.Error):
        connection.adbc_get_table_schema("nothing", db_schema_filter="demo")


def test_what_the_server_is(connection):
    info = connection.adbc_get_info()
    assert info["vendor_name"] == "Lakegate"
    assert connection.adbc_get_table_types() == ["TABLE", "VIEW"]
    assert connection.adbc_current_catalog == "lake"
    assert connection.adbc_current_db_schema == ""


def test_a_session_has_a_schema(connection, cursor, ask):
    with pytest.raises(adbc_driver_manager.Error, match="flights"):
        ask("SELECT count(*) FROM flights")
    connection.adbc_current_db_schema = "demo"
    assert connection.adbc_current_db_schema == "demo"
    assert ask("SELECT count(*) AS n FROM flights")["n"].to_pylist() == [20000]
    with pytest.raises(adbc_driver_manager.Error):
        connection.adbc_current_db_schema = "Not A Name"


def test_a_session_has_other_options(connection, ask):
    option = ConnectionOptions.OPTION_SESSION_OPTION_PREFIX.value
    connection.adbc_connection.set_options(**{f"{option}time_zone": "Asia/Tokyo", f"{option}row_limit": "3"})
    assert ask("SELECT * FROM demo.airports").num_rows == 3
    hour = ask("SELECT date_part('hour', TIMESTAMPTZ '2026-01-01T00:00:00Z' AT TIME ZONE 'Asia/Tokyo') AS h")
    assert hour["h"].to_pylist() == [9]
    assert connection.adbc_connection.get_option(f"{option}time_zone") == "Asia/Tokyo"


def test_ingest_in_every_mode(connection, cursor, ask):
    def ingest(table, mode, rows=THREE):
        return cursor.adbc_ingest(table, rows, mode=mode, db_schema_name="adbc")

    def count(table):
        return ask(f"SELECT count(*) AS n FROM adbc.{table}")["n"].to_pylist()[0]

    assert ingest("modes", "create") == 3
    with pytest.raises(adbc_driver_manager.Error, match="(?i)already|exists"):
        ingest("modes", "create")
    assert count("modes") == 3
    assert ingest("modes", "append") == 3
    assert count("modes") == 6
    with pytest.raises(adbc_driver_manager.Error, match="does not exist"):
        ingest("missing", "append")
    assert ingest("both", "create_append") == 3
    assert ingest("both", "create_append") == 3
    assert count("both") == 6
    assert ingest("modes", "replace", pa.table({"other": [1.5]})) == 1
    assert ask("SELECT * FROM adbc.modes").to_pylist() == [{"other": 1.5}]
    # Rows that do not fit leave the table as it is.
    with pytest.raises(adbc_driver_manager.Error):
        ingest("modes", "append", pa.table({"id": [1]}))
    assert count("modes") == 1


def test_ingest_streams(cursor, ask):
    schema = pa.schema({"n": pa.int64(), "text": pa.string()})
    batches = (
        pa.record_batch([range(start, start + 10_000), [f"row {start}"] * 10_000], schema=schema)
        for start in range(0, 300_000, 10_000)
    )
    reader = pa.RecordBatchReader.from_batches(schema, batches)
    assert cursor.adbc_ingest("streamed", reader, mode="create", db_schema_name="adbc") == 300_000
    assert ask("SELECT count(DISTINCT n) AS n FROM adbc.streamed")["n"].to_pylist() == [300_000]


def test_temporary_tables_are_refused_by_name(cursor):
    with pytest.raises(adbc_driver_manager.Error, match="temporary"):
        cursor.adbc_ingest("passing", THREE, mode="create", temporary=True)


def test_a_reader_may_not_write(url, reader):
    with open_connection(url, reader) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM demo.flights")
        assert cursor.fetchone() == (20000,)
        with pytest.raises(adbc_driver_manager.Error):
            cursor.adbc_ingest("flights", THREE, mode="append", db_schema_name="demo")


def test_statements_that_write_are_refused_in_words(cursor):
    for sql in ("CREATE TABLE demo.x (id int)", "INSERT INTO demo.flights VALUES (1)", "DROP TABLE demo.flights"):
        with pytest.raises(adbc_driver_manager.Error, match="(?i)not allowed|only"):
            cursor.execute(sql)


def test_errors_say_where(ask):
    with pytest.raises(adbc_driver_manager.Error, match="nope") as told:
        ask("SELECT nope FROM demo.flights")
    assert told.value.status_code == adbc_driver_manager.AdbcStatusCode.INVALID_ARGUMENT
    with pytest.raises(adbc_driver_manager.Error) as told:
        ask("SELECT * FROM demo.nothing")
    assert told.value.status_code == adbc_driver_manager.AdbcStatusCode.NOT_FOUND


def test_cancel(connection, cursor):
    cursor.execute(ENDLESS)
    threading.Timer(0.5, cursor.adbc_cancel).start()
    with pytest.raises(adbc_driver_manager.Error) as told:
        cursor.fetch_arrow_table()
    assert told.value.status_code == adbc_driver_manager.AdbcStatusCode.CANCELLED
    # The connection is as good as before.
    with connection.cursor() as other:
        other.execute("SELECT 1")
        assert other.fetchone() == (1,)


def test_partitions(connection, cursor):
    partitions, schema = cursor.adbc_execute_partitions("SELECT iata FROM demo.airports")
    assert schema.names == ["iata"]
    rows = 0
    for partition in partitions:
        with connection.cursor() as part:
            part.adbc_read_partition(partition)
            rows += part.fetch_arrow_table().num_rows
    assert rows == 3376


def test_no_transactions(url, token):
    # The DB-API begins one unless it is told not to; it is said that there are none, and the connection serves on.
    with pytest.warns(Warning, match="(?i)autocommit"):
        connection = adbc_driver_flightsql.dbapi.connect(url, db_kwargs={"username": "x", "password": token})
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)


def test_a_long_answer_streams(cursor):
    cursor.execute("SELECT a.delay FROM demo.flights a, (SELECT * FROM demo.flights LIMIT 50) b")
    begun = time.monotonic()
    reader = cursor.fetch_record_batch()
    rows, first = 0, None
    for batch in reader:
        rows += batch.num_rows
        first = first or time.monotonic() - begun
    assert rows == 1_000_000
    assert first is not None
