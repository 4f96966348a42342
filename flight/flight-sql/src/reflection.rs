//! What the service looks like, for tools that ask instead of having `Flight.proto` at hand. The crate that holds the
//! messages has no description of them, so that this is it: the calls, and the messages they take and answer, by their
//! published names and numbers.

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, EnumValueDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    FileDescriptorSet, MethodDescriptorProto, OneofDescriptorProto, ServiceDescriptorProto,
};

const PACKAGE: &str = "arrow.flight.protocol";
const TIMESTAMP_FILE: &str = "google/protobuf/timestamp.proto";
const TIMESTAMP: &str = ".google.protobuf.Timestamp";
const DESCRIPTOR_TYPE: &str = ".arrow.flight.protocol.FlightDescriptor.DescriptorType";

/// The files that describe the service.
pub(crate) fn files() -> FileDescriptorSet {
    FileDescriptorSet { file: vec![timestamp(), flight()] }
}

/// A field's type: a scalar, or the message or enumeration of that name.
#[derive(Clone, Copy)]
enum Is {
    Text,
    Bytes,
    Whole,
    Count,
    Nanos,
    Truth,
    Real,
    Enumeration(&'static str),
    One(&'static str),
}

use Is::{Bytes, Count, Enumeration, Nanos, One, Real, Text, Truth, Whole};

/// Fields: name, number, type. A name that ends in `[]` is repeated, in `?` optional.
type Fields = &'static [(&'static str, i32, Is)];

/// The messages.
const MESSAGES: &[(&str, Fields)] = &[
    ("HandshakeRequest", &[("protocol_version", 1, Count), ("payload", 2, Bytes)]),
    ("HandshakeResponse", &[("protocol_version", 1, Count), ("payload", 2, Bytes)]),
    ("Empty", &[]),
    ("ActionType", &[("type", 1, Text), ("description", 2, Text)]),
    ("Criteria", &[("expression", 1, Bytes)]),
    ("Action", &[("type", 1, Text), ("body", 2, Bytes)]),
    ("Result", &[("body", 1, Bytes)]),
    ("SchemaResult", &[("schema", 1, Bytes)]),
    ("FlightDescriptor", &[("type", 1, Enumeration(DESCRIPTOR_TYPE)), ("cmd", 2, Bytes), ("path[]", 3, Text)]),
    (
        "FlightInfo",
        &[
            ("schema", 1, Bytes),
            ("flight_descriptor", 2, One("FlightDescriptor")),
            ("endpoint[]", 3, One("FlightEndpoint")),
            ("total_records", 4, Whole),
            ("total_bytes", 5, Whole),
            ("ordered", 6, Truth),
            ("app_metadata", 7, Bytes),
        ],
    ),
    (
        "PollInfo",
        &[
            ("info", 1, One("FlightInfo")),
            ("flight_descriptor", 2, One("FlightDescriptor")),
            ("progress?", 3, Real),
            ("expiration_time", 4, One(TIMESTAMP)),
        ],
    ),
    (
        "FlightEndpoint",
        &[
            ("ticket", 1, One("Ticket")),
            ("location[]", 2, One("Location")),
            ("expiration_time", 3, One(TIMESTAMP)),
            ("app_metadata", 4, Bytes),
        ],
    ),
    ("Location", &[("uri", 1, Text)]),
    ("Ticket", &[("ticket", 1, Bytes)]),
    (
        "FlightData",
        &[
            ("flight_descriptor", 1, One("FlightDescriptor")),
            ("data_header", 2, Bytes),
            ("app_metadata", 3, Bytes),
            ("data_body", 1000, Bytes),
        ],
    ),
    ("PutResult", &[("app_metadata", 1, Bytes)]),
];

/// The calls: name, what comes in, what goes out, and which of both is a stream.
const CALLS: &[(&str, &str, &str, bool, bool)] = &[
    ("Handshake", "HandshakeRequest", "HandshakeResponse", true, true),
    ("ListFlights", "Criteria", "FlightInfo", false, true),
    ("GetFlightInfo", "FlightDescriptor", "FlightInfo", false, false),
    ("PollFlightInfo", "FlightDescriptor", "PollInfo", false, false),
    ("GetSchema", "FlightDescriptor", "SchemaResult", false, false),
    ("DoGet", "Ticket", "FlightData", false, true),
    ("DoPut", "FlightData", "PutResult", true, true),
    ("DoExchange", "FlightData", "FlightData", true, true),
    ("DoAction", "Action", "Result", false, true),
    ("ListActions", "Empty", "ActionType", false, true),
];

fn flight() -> FileDescriptorProto {
    let mut messages: Vec<_> = MESSAGES.iter().map(|(name, fields)| message(name, fields)).collect();
    if let Some(descriptor) = messages.iter_mut().find(|message| message.name() == "FlightDescriptor") {
        descriptor.enum_type.push(enumeration("DescriptorType", &["UNKNOWN", "PATH", "CMD"]));
    }
    let calls = CALLS.iter().map(|(name, input, output, client, server)| MethodDescriptorProto {
        name: Some((*name).to_owned()),
        input_type: Some(full(input)),
        output_type: Some(full(output)),
        client_streaming: Some(*client),
        server_streaming: Some(*server),
        ..MethodDescriptorProto::default()
    });
    let service = ServiceDescriptorProto {
        name: Some("FlightService".to_owned()),
        method: calls.collect(),
        ..ServiceDescriptorProto::default()
    };
    FileDescriptorProto {
        name: Some("Flight.proto".to_owned()),
        package: Some(PACKAGE.to_owned()),
        dependency: vec![TIMESTAMP_FILE.to_owned()],
        message_type: messages,
        service: vec![service],
        syntax: Some("proto3".to_owned()),
        ..FileDescriptorProto::default()
    }
}

fn timestamp() -> FileDescriptorProto {
    FileDescriptorProto {
        name: Some(TIMESTAMP_FILE.to_owned()),
        package: Some("google.protobuf".to_owned()),
        message_type: vec![message("Timestamp", &[("seconds", 1, Whole), ("nanos", 2, Nanos)])],
        syntax: Some("proto3".to_owned()),
        ..FileDescriptorProto::default()
    }
}

fn message(name: &str, fields: Fields) -> DescriptorProto {
    let mut message = DescriptorProto { name: Some(name.to_owned()), ..DescriptorProto::default() };
    for &(name, number, is) in fields {
        let mut described = field(name, number, is);
        if name.ends_with('?') {
            // An optional scalar is alone in a choice that is named after it.
            described.proto3_optional = Some(true);
            described.oneof_index = i32::try_from(message.oneof_decl.len()).ok();
            let choice = format!("_{}", described.name());
            message.oneof_decl.push(OneofDescriptorProto { name: Some(choice), ..OneofDescriptorProto::default() });
        }
        message.field.push(described);
    }
    message
}

fn field(name: &str, number: i32, is: Is) -> FieldDescriptorProto {
    let (ty, of) = match is {
        Text => (Type::String, None),
        Bytes => (Type::Bytes, None),
        Whole => (Type::Int64, None),
        Count => (Type::Uint64, None),
        Nanos => (Type::Int32, None),
        Truth => (Type::Bool, None),
        Real => (Type::Double, None),
        Enumeration(of) => (Type::Enum, Some(full(of))),
        One(of) => (Type::Message, Some(full(of))),
    };
    let label = if name.ends_with("[]") { Label::Repeated } else { Label::Optional };
    FieldDescriptorProto {
        name: Some(name.trim_end_matches(['[', ']', '?']).to_owned()),
        number: Some(number),
        label: Some(label as i32),
        r#type: Some(ty as i32),
        type_name: of,
        ..FieldDescriptorProto::default()
    }
}

fn enumeration(name: &str, values: &[&str]) -> EnumDescriptorProto {
    let values = values.iter().zip(0..).map(|(value, number)| EnumValueDescriptorProto {
        name: Some((*value).to_owned()),
        number: Some(number),
        ..EnumValueDescriptorProto::default()
    });
    EnumDescriptorProto { name: Some(name.to_owned()), value: values.collect(), ..EnumDescriptorProto::default() }
}

/// The name with its package; one that begins with a point has it.
fn full(name: &str) -> String {
    if name.starts_with('.') { name.to_owned() } else { format!(".{PACKAGE}.{name}") }
}
