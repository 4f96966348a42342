"""flightsql-dbapi 0.2.2 and its dialect of SQLAlchemy 1.4, as Superset and others use them; pandas on top."""

import flightsql
import flightsql.sqlalchemy  # Registers the dialect.
import pandas
import pytest
import sqlalchemy
from sqlalchemy import create_engine, inspect, text


@pytest.fixture
def engine(address, token):
    engine = create_engine(f"datafusion+flightsql://{address}?insecure=True&token={token}")
    yield engine
    engine.dispose()


@pytest.fixture(params=["token", "password", "nobody"])
def any_engine(request, address, token):
    urls = {
        "token": f"datafusion+flightsql://{address}?insecure=True&token={token}",
        "password": f"datafusion+flightsql://ann:{token}@{address}?insecure=True",
        # The client sends `Bearer None`.
        "nobody": f"datafusion+flightsql://{address}?insecure=True",
    }
    engine = create_engine(urls[request.param])
    yield engine
    engine.dispose()


def test_rows(any_engine):
    with any_engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM demo.flights")).scalar() == 20000


def test_what_there_is(any_engine):
    inspector = inspect(any_engine)
    assert {"demo", "information_schema"} <= set(inspector.get_schema_names())
    assert {"airports", "earthquakes", "flights"} <= set(inspector.get_table_names(schema="demo"))
    assert inspector.has_table("flights", schema="demo")
    assert not inspector.has_table("nothing", schema="demo")
    columns = {column["name"]: column["type"] for column in inspector.get_columns("airports", schema="demo")}
    assert list(columns) == ["iata", "name", "city", "state", "country", "latitude", "longitude"]
    assert isinstance(columns["iata"], sqlalchemy.types.TypeEngine)


def test_a_table_is_reflected_and_asked(engine):
    airports = sqlalchemy.Table("airports", sqlalchemy.MetaData(), schema="demo", autoload_with=engine)
    asked = sqlalchemy.select(airports.c.iata).where(airports.c.latitude > 70).order_by(airports.c.iata).limit(2)
    with engine.connect() as connection:
        rows = connection.execute(asked.compile(engine, compile_kwargs={"literal_binds": True}).string).fetchall()
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)
    assert len(rows) == 2


def test_pandas_reads(engine):
    frame = pandas.read_sql("SELECT iata, latitude FROM demo.airports ORDER BY iata LIMIT 2", engine)
    assert list(frame.columns) == ["iata", "latitude"]
    assert frame.shape == (2, 2)


def test_errors_reach_python(engine):
    with engine.connect() as connection, pytest.raises(Exception, match="nope"):
        connection.execute(text("SELECT nope FROM demo.flights"))


def test_the_dbapi_alone(address, token):
    host, port = address.split(":")
    client = flightsql.FlightSQLClient(host=host, port=int(port), token=token, insecure=True)
    connection = flightsql.connect(client)
    cursor = connection.cursor()
    cursor.execute("SELECT iata FROM demo.airports ORDER BY iata LIMIT 1")
    assert list(cursor.fetchone()) == ["00M"]
    info = client.execute("SELECT 1 AS one")
    assert client.do_get(info.endpoints[0].ticket).read_all().to_pylist() == [{"one": 1}]
    client.close()
