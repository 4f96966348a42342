//! The same cases over Flight: a statement is asked, an Arrow stream is put message by message.

use arrow_flight::{FlightData, FlightDescriptor};
use bytes::Bytes;
use tonic::Status;

use super::{Content, Push, Sent, TARGET};
use crate::Result;
use crate::flight::{FlightClient, code};

/// What a case is over Flight; `None` for what only REST can send.
pub(super) enum Call {
    Ask(String),
    Put(Vec<FlightData>),
}

impl Call {
    pub(super) fn of(sent: &Sent) -> Result<Option<Self>> {
        Ok(match sent {
            Sent::Sql { sql, params: None, as_of: None, timeout: None } => {
                Some(Self::Ask(String::from_utf8(sql.bytes()?)?))
            }
            Sent::Push(Push { push, content_type, encoding: None })
                if content_type == "application/vnd.apache.arrow.stream" =>
            {
                put(push)?.map(Self::Put)
            }
            _ => None,
        })
    }

    /// Its error's code, and the error.
    pub(super) async fn send(self, client: &FlightClient) -> (Option<String>, String) {
        let status: Result<String, Status> = match self {
            Self::Ask(sql) => client.ask(&sql).await.map(|rows| format!("{} rows", rows.count())),
            Self::Put(messages) => {
                client.put(futures::stream::iter(messages)).await.map(|results| format!("{results:?}"))
            }
        };
        match status {
            Ok(answer) => (None, answer),
            Err(status) => (Some(code(&status)), status.to_string()),
        }
    }
}

/// The messages of an Arrow stream; `None` where it does not come to its end mark: Flight has no lengths of its own that
/// could be wrong, and its streams end in another way.
fn put(content: &Content) -> Result<Option<Vec<FlightData>>> {
    let path = TARGET.split('.').map(str::to_owned).collect();
    let mut messages =
        vec![FlightData { flight_descriptor: Some(FlightDescriptor::new_path(path)), ..FlightData::default() }];
    let mut rest = Bytes::from(content.bytes()?);
    while let Some((header, body, after)) = message(&rest) {
        messages.push(FlightData { data_header: header, data_body: body, ..FlightData::default() });
        rest = after;
    }
    Ok((rest[..] == END).then_some(messages))
}

/// What an Arrow stream ends with.
const END: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

/// The first message of a stream: its header, its body, and what follows.
fn message(stream: &Bytes) -> Option<(Bytes, Bytes, Bytes)> {
    let word = |at: usize| stream.get(at..at + 4).and_then(|word| word.try_into().ok()).map(u32::from_le_bytes);
    let start = if word(0)? == u32::MAX { 8 } else { 4 };
    let length = usize::try_from(word(start - 4)?).ok().filter(|length| *length > 0)?;
    let body = start.checked_add(length)?;
    let header = stream.get(start..body)?;
    let declared = arrow::ipc::root_as_message(header).map_or(0, |message| message.bodyLength());
    let end = body.checked_add(usize::try_from(declared).ok()?).filter(|end| *end <= stream.len())?;
    Some((stream.slice(start..body), stream.slice(body..end), stream.slice(end..)))
}
