//! Decoded bytes of a push to batches of a dataset's columns.

use std::fs::File;
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use lakegate_formats::{BodyReader, Format, ParquetRows};
use lakegate_lake::Append;
use tokio::io::AsyncWriteExt as _;

use crate::admission::Place;
use crate::body::Body;
use crate::error::{IngestError, Result};
use crate::limits::Limits;

/// Text is read in steps of this many bytes, so that at most a few batches wait in memory.
const STEP: usize = 256 << 10;

/// The part of a body that was read to know its columns.
pub(crate) enum Head {
    /// The first pieces of a body that is read as it arrives.
    Pieces(Vec<Bytes>),
    /// The whole of it, in a file.
    Whole(Box<ParquetRows>),
}

impl Head {
    /// Nothing was read yet.
    pub(crate) fn none() -> Self {
        Self::Pieces(Vec::new())
    }
}

/// Reads the body to its end into the table's next version.
pub(crate) async fn write_rows(
    place: &Place,
    append: &mut Append,
    body: &mut Body<'_>,
    head: Head,
    limits: &Limits,
) -> Result<()> {
    match (body.format(), head) {
        (_, Head::Whole(rows)) => write_parquet(place, body.decoded(), append, *rows, limits).await,
        (Format::Parquet, Head::Pieces(_)) => {
            let rows = spool(body, &limits.spool).await?;
            write_parquet(place, body.decoded(), append, rows, limits).await
        }
        (format, Head::Pieces(pieces)) => {
            let mut rows = Pieces::new(place, format, append.schema(), limits)?;
            for piece in pieces {
                rows.write(&piece, append).await?;
            }
            while let Some(piece) = body.next().await? {
                rows.write(&piece, append).await?;
            }
            rows.finish(append).await
        }
    }
}

/// Receives a whole Parquet body into a file without a name: it is gone when nobody reads it any more,
/// however this process ends. It is as large as `ingest.max_body` at most.
pub(crate) async fn spool(body: &mut Body<'_>, folder: &Path) -> Result<ParquetRows> {
    let file = tempfile::tempfile_in(folder).map_err(full)?;
    let mut file = tokio::fs::File::from_std(file);
    while let Some(piece) = body.next().await? {
        file.write_all(&piece).await.map_err(full)?;
    }
    file.flush().await.map_err(full)?;
    let file: File = file.into_std().await;
    apart(file, |file| ParquetRows::open(file.try_clone().map_err(full)?).map_err(IngestError::from)).await?.1
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn full(error: std::io::Error) -> IngestError {
    tracing::warn!(%error, "the spill folder does not take a push");
    IngestError::NoRoom
}

async fn write_parquet(
    place: &Place,
    bytes: u64,
    append: &mut Append,
    rows: ParquetRows,
    limits: &Limits,
) -> Result<()> {
    // The whole body is here: nobody is waited for until its rows are written.
    let _burst = place.burst(bytes).await?;
    let (schema, limits) = (append.schema(), limits.of_body());
    let (mut rows, started) = apart(rows, move |rows| rows.start(schema, limits)).await?;
    started?;
    loop {
        let (again, batch) = apart(rows, ParquetRows::next_batch).await?;
        rows = again;
        match batch? {
            Some(batch) => append.write(&batch).await?,
            None => return Ok(append.settle().await?),
        }
    }
}

/// Runs a step that takes long on a thread where it holds up nobody.
async fn apart<T, R>(mut what: T, step: impl FnOnce(&mut T) -> R + Send + 'static) -> Result<(T, R)>
where
    T: Send + 'static,
    R: Send + 'static,
{
    let done = tokio::task::spawn_blocking(move || {
        let result = step(&mut what);
        (what, result)
    });
    done.await.map_err(|_| IngestError::GivenUp)
}

/// A body that is read piece by piece.
struct Pieces<'a> {
    place: &'a Place,
    /// Away while a thread works on it.
    reader: Option<BodyReader>,
    /// Whether one piece can mean much work: a compressed message, a dictionary.
    heavy: bool,
}

impl<'a> Pieces<'a> {
    fn new(place: &'a Place, format: Format, schema: SchemaRef, limits: &Limits) -> Result<Self> {
        let reader = BodyReader::new(format, schema, limits.of_body())?;
        Ok(Self { place, reader: Some(reader), heavy: !format.is_text() })
    }

    async fn write(&mut self, piece: &[u8], append: &mut Append) -> Result<()> {
        for step in piece.chunks(STEP) {
            self.reader()?.feed(step)?;
            // What the largest message of this step takes; most take nothing of their own.
            let (mut largest, mut burst) = (0, None);
            loop {
                if let Some(unpacked) = self.reader()?.ready()?
                    && unpacked > largest
                {
                    if burst.take().is_some() {
                        append.settle().await?;
                    }
                    (largest, burst) = (unpacked, self.place.burst(unpacked as u64).await?);
                }
                let Some(batch) = self.next().await? else { break };
                append.write(&batch).await?;
            }
            if burst.is_some() {
                append.settle().await?;
            }
        }
        Ok(())
    }

    async fn finish(mut self, append: &mut Append) -> Result<()> {
        if let Some(last) = self.reader()?.finish()? {
            append.write(&last).await?;
        }
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        if !self.heavy {
            return Ok(self.reader()?.take_batch()?);
        }
        let reader = self.reader.take().ok_or(IngestError::GivenUp)?;
        let (reader, batch) = apart(reader, BodyReader::take_batch).await?;
        self.reader = Some(reader);
        Ok(batch?)
    }

    fn reader(&mut self) -> Result<&mut BodyReader> {
        self.reader.as_mut().ok_or(IngestError::GivenUp)
    }
}
