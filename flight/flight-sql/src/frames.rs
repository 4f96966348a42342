//! Messages of a put, turned into the bytes of an Arrow IPC stream: what judges those judges these.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow_flight::FlightData;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use lakegate_formats::{ArrowBatches, FormatError, STREAM_END, framed};
use lakegate_ingest::{IngestError, Limits};

use crate::put::Incoming;
use crate::status::{Failure, Result};

/// The messages as the bytes of a stream, its end included.
pub(crate) fn stream(incoming: &mut Incoming) -> BoxStream<'_, Result<Bytes, IngestError>> {
    let messages = incoming.messages().map(|message| match message {
        // One that carries metadata of its own alone has no place in a stream.
        Ok(FlightData { data_header, data_body, .. }) if data_header.is_empty() && data_body.is_empty() => {
            Ok(Bytes::new())
        }
        Ok(FlightData { data_header, data_body, .. }) => Ok(framed(&data_header, &data_body)?.into()),
        Err(error) => Err(error),
    });
    messages.chain(futures::stream::once(async { Ok(Bytes::from_static(&STREAM_END)) })).boxed()
}

/// The rows of a put that is small: the parameters of a statement.
pub(crate) async fn parameters(incoming: &mut Incoming, limits: &Limits) -> Result<RecordBatch> {
    /// Bytes of all of them.
    const MOST: u64 = 16 << 20;
    let mut reader = ArrowBatches::new();
    let mut found: Option<RecordBatch> = None;
    let mut bytes = stream(incoming);
    let mut taken = 0;
    loop {
        let next = tokio::time::timeout(limits.idle_timeout, bytes.next()).await;
        let Some(piece) = next.map_err(|_| IngestError::Idle(limits.idle_timeout))? else {
            reader.finish()?;
            return found.ok_or_else(|| Failure::from(FormatError::Empty));
        };
        let piece = piece?;
        taken += piece.len() as u64;
        if taken > MOST {
            return Err(FormatError::BodyTooLarge { limit: MOST }.into());
        }
        reader.feed(&piece);
        while let Some(batch) = reader.next_batch()? {
            found = Some(match found {
                Some(before) => concat_batches(&before.schema(), [&before, &batch])?,
                None => batch,
            });
        }
    }
}
