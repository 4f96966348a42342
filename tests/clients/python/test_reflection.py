"""Server reflection, as grpcurl and its like use it: a client that has no file of the protocol calls it all the same."""

import grpc
import pytest
from google.protobuf import descriptor_pool, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

FLIGHT = "arrow.flight.protocol.FlightService"


@pytest.fixture(scope="module")
def channel(address):
    with grpc.insecure_channel(address) as channel:
        yield channel


@pytest.fixture(scope="module")
def database(channel):
    return ProtoReflectionDescriptorDatabase(channel)


@pytest.fixture(scope="module")
def service(database):
    return descriptor_pool.DescriptorPool(database).FindServiceByName(FLIGHT)


def test_services_are_listed(database):
    assert {FLIGHT, "grpc.health.v1.Health"} <= set(database.get_services())


def test_every_call_is_described(service):
    assert {method.name for method in service.methods} == {
        "Handshake", "ListFlights", "GetFlightInfo", "PollFlightInfo", "GetSchema", "DoGet", "DoPut", "DoExchange",
        "DoAction", "ListActions",
    }


def call(channel, service, name, **fields):
    method = service.methods_by_name[name]
    request = message_factory.GetMessageClass(method.input_type)(**fields)
    answer = message_factory.GetMessageClass(method.output_type)
    make = channel.unary_stream if method.server_streaming else channel.unary_unary
    ask = make(f"/{FLIGHT}/{name}", request_serializer=lambda m: m.SerializeToString(), response_deserializer=answer.FromString)
    return ask(request)


def test_a_call_by_description(channel, service):
    actions = {action.type: action.description for action in call(channel, service, "ListActions")}
    assert "CreatePreparedStatement" in actions
    flights = list(call(channel, service, "ListFlights", expression=b"demo.f"))
    assert list(flights[0].flight_descriptor.path) == ["demo", "flights"]
    info = call(channel, service, "GetFlightInfo", path=["demo", "flights"], type=1)
    assert len(info.endpoint) == 1
    assert info.total_records == -1
    assert not info.DiscardUnknownFields()
    rows = list(call(channel, service, "DoGet", ticket=info.endpoint[0].ticket.ticket))
    assert rows[0].data_header and rows[1].data_body
