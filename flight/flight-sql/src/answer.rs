//! An answer on its way out: batches as they come, each encoded when there is room for it.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions};
use arrow::record_batch::RecordBatch;
use arrow_flight::{FlightData, SchemaAsIpc};
use futures::{Stream, StreamExt as _};
use lakegate_catalog::ErrorKind;
use lakegate_formats::plain_batch;
use lakegate_query::QueryStream;
use tokio::sync::mpsc;
use tonic::Status;

use crate::service::Streamed;
use crate::status::{Failure, Result};

/// Encoded messages that wait for a slow reader; then the query stands still.
const AHEAD: usize = 2;

/// How long a query may be silent before an empty batch tells the client that it still runs.
const SILENCE: Duration = Duration::from_secs(10);

/// A batch whose rows are larger is sent in pieces, as far as rows can be parted.
const MESSAGE: usize = 2 << 20;

/// Makes messages of batches.
pub(crate) struct Encoder {
    schema: SchemaRef,
    options: IpcWriteOptions,
    generator: IpcDataGenerator,
    dictionaries: DictionaryTracker,
    context: IpcWriteContext,
}

impl Encoder {
    pub(crate) fn new(schema: SchemaRef, options: IpcWriteOptions) -> Self {
        Self {
            schema,
            options,
            generator: IpcDataGenerator::default(),
            dictionaries: DictionaryTracker::new(false),
            context: IpcWriteContext::default(),
        }
    }

    /// The first message.
    pub(crate) fn schema(&self) -> FlightData {
        SchemaAsIpc::new(&self.schema, &self.options).into()
    }

    /// The messages of a batch.
    pub(crate) fn batch(&mut self, batch: &RecordBatch) -> Result<Vec<FlightData>> {
        let batch = plain_batch(batch, &self.schema)?;
        let size: usize =
            batch.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or(0)).sum();
        let step = batch.num_rows().div_ceil(size.div_ceil(MESSAGE).max(1)).max(1);
        let mut messages = Vec::new();
        let mut at = 0;
        loop {
            let piece = batch.slice(at, step.min(batch.num_rows() - at));
            let (dictionaries, rows) =
                self.generator.encode(&piece, &mut self.dictionaries, &self.options, &mut self.context)?;
            messages.extend(dictionaries.into_iter().map(FlightData::from));
            messages.push(rows.into());
            at += step;
            if at >= batch.num_rows() {
                return Ok(messages);
            }
        }
    }

    /// A message of no rows.
    fn nothing(&mut self) -> Result<Vec<FlightData>> {
        self.batch(&RecordBatch::new_empty(Arc::clone(&self.schema)))
    }
}

/// Streams a query's rows. `patience` is how long the client may take none of them. Dropping the stream cancels the query.
pub(crate) fn answer(query: QueryStream, encoder: Encoder, patience: Duration) -> Streamed<FlightData> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let late = Arc::new(OnceLock::new());
    let drive = Drive { sender, patience, late: Arc::clone(&late) };
    tokio::spawn(drive.run(query, encoder));
    Box::pin(Answer { receiver, late })
}

/// A whole answer that is at hand.
pub(crate) fn at_hand(batches: &[RecordBatch], schema: SchemaRef) -> Result<Streamed<FlightData>> {
    let mut encoder = Encoder::new(schema, IpcWriteOptions::default());
    let mut messages = vec![encoder.schema()];
    for batch in batches {
        messages.extend(encoder.batch(batch)?);
    }
    Ok(futures::stream::iter(messages.into_iter().map(Ok)).boxed())
}

struct Drive {
    sender: mpsc::Sender<Result<FlightData, Status>>,
    patience: Duration,
    late: Arc<OnceLock<Failure>>,
}

/// The client has gone, or takes nothing.
struct Gone;

impl Drive {
    async fn run(self, mut query: QueryStream, mut encoder: Encoder) {
        // Whoever is gone needs no error; who is late finds it in `late`.
        let _ = self.send_all(&mut query, &mut encoder).await;
    }

    async fn send_all(&self, query: &mut QueryStream, encoder: &mut Encoder) -> Result<(), Gone> {
        self.send(Ok(encoder.schema())).await?;
        loop {
            let next = tokio::select! {
                () = self.sender.closed() => return Err(Gone),
                next = tokio::time::timeout(SILENCE, query.next()) => next,
            };
            let messages = match next {
                Err(_) => encoder.nothing(),
                Ok(None) => return Ok(()),
                Ok(Some(Ok(batch))) => encoder.batch(&batch),
                Ok(Some(Err(error))) => Err(error.into()),
            };
            match messages {
                Ok(messages) => {
                    for message in messages {
                        self.send(Ok(message)).await?;
                    }
                }
                Err(failure) => return self.send(Err(failure.into())).await,
            }
        }
    }

    async fn send(&self, message: Result<FlightData, Status>) -> Result<(), Gone> {
        match tokio::time::timeout(self.patience, self.sender.send(message)).await {
            Ok(sent) => sent.map_err(|_| Gone),
            Err(_) => {
                let detail = format!("no rows were taken for {:?}; the query was stopped", self.patience);
                let _ = self.late.set(Failure::new(ErrorKind::Deadline, "answer_not_taken", detail));
                Err(Gone)
            }
        }
    }
}

/// The receiving end; an answer that was cut short ends with an error.
struct Answer {
    receiver: mpsc::Receiver<Result<FlightData, Status>>,
    late: Arc<OnceLock<Failure>>,
}

impl Stream for Answer {
    type Item = Result<FlightData, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(message) = ready!(self.receiver.poll_recv(cx)) {
            return Poll::Ready(Some(message));
        }
        let late = self.late.get().cloned();
        self.late = Arc::default();
        Poll::Ready(late.map(|failure| Err(failure.into())))
    }
}
