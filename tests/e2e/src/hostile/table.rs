//! Arrow and Parquet bodies from a description: what is in them is sound, the case forges the rest.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, DictionaryArray, DurationSecondArray, Float16Array, Int32Array, Int64Array, ListArray, ListViewArray,
    NullArray, RecordBatch, RunArray, StringArray, Time32SecondArray, UInt64Array, UnionArray,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, UnionFields};
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use parquet::arrow::ArrowWriter;
use parquet::basic::{BrotliLevel, Compression, Encoding, GzipLevel, ZstdLevel};
use parquet::file::properties::WriterProperties;
use serde::Deserialize;

use crate::Result;

/// Columns of equal length.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Name and content of each.
    pub columns: Vec<(String, Kind)>,
    /// How many rows.
    pub rows: usize,
    /// `lz4`, `zstd`, `gzip`, `brotli`, `snappy`, as the format has it.
    #[serde(default)]
    pub codec: Option<String>,
    /// An Arrow file instead of a stream.
    #[serde(default)]
    pub file: bool,
    /// The batch again and again.
    #[serde(default = "once")]
    pub times: usize,
    /// Encode text by its differences.
    #[serde(default)]
    pub delta: bool,
}

fn once() -> usize {
    1
}

/// What a column holds.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// 0, 1, 2 …
    Numbers,
    /// 64-bit integers that are all the largest.
    Largest,
    /// Unsigned ones beyond any signed one.
    Unsigned,
    /// `needed-0`, `needed-1` …
    Texts,
    /// Nothing.
    Nulls,
    /// Half-precision floats.
    Halves,
    /// Times of day.
    Times,
    /// Durations.
    Durations,
    /// Numbers of a union.
    Unions,
    /// Views of lists.
    ListViews,
    /// Lists of one number.
    Lists,
    /// One text of so many bytes, which a dictionary repeats.
    Dictionary(usize),
    /// One text of so many bytes, as one run.
    Run(usize),
    /// One text of so many bytes in each row.
    Words(usize),
    /// Lists in lists, so deep.
    Deep(usize),
    /// So many columns of numbers; the name is the beginning of theirs.
    Wide(usize),
}

impl Kind {
    fn array(&self, rows: usize) -> Result<ArrayRef> {
        let count = i64::try_from(rows)?;
        let word = |bytes: &usize| StringArray::from(vec!["w".repeat(*bytes)]);
        let item = || Arc::new(Field::new("item", DataType::Int64, true));
        let numbers = || Int64Array::from_iter_values(0..count);
        Ok(match self {
            Self::Numbers | Self::Wide(_) => Arc::new(numbers()),
            Self::Largest => Arc::new(Int64Array::from(vec![i64::MAX; rows])),
            Self::Unsigned => Arc::new(UInt64Array::from(vec![u64::MAX; rows])),
            Self::Texts => Arc::new(StringArray::from_iter_values((0..rows).map(|row| format!("needed-{row}")))),
            Self::Nulls => Arc::new(NullArray::new(rows)),
            Self::Halves => Arc::new(Float16Array::from(vec![None; rows])),
            Self::Times => Arc::new(Time32SecondArray::from(vec![1; rows])),
            Self::Durations => Arc::new(DurationSecondArray::from(vec![1; rows])),
            Self::Unions => {
                let fields = UnionFields::try_new([0], [Field::new("n", DataType::Int64, true)])?;
                let ids = ScalarBuffer::from(vec![0_i8; rows]);
                Arc::new(UnionArray::try_new(fields, ids, None, vec![Arc::new(numbers())])?)
            }
            Self::ListViews => {
                let offsets = ScalarBuffer::from_iter(0..i32::try_from(rows)?);
                let sizes = ScalarBuffer::from(vec![1_i32; rows]);
                Arc::new(ListViewArray::try_new(item(), offsets, sizes, Arc::new(numbers()), None)?)
            }
            Self::Lists => Arc::new(ListArray::try_new(
                item(),
                OffsetBuffer::from_repeated_length(1, rows),
                Arc::new(numbers()),
                None,
            )?),
            Self::Dictionary(bytes) => {
                let keys = Int32Array::from(vec![0; rows]);
                Arc::new(DictionaryArray::<Int32Type>::try_new(keys, Arc::new(word(bytes)))?)
            }
            Self::Run(bytes) => {
                Arc::new(RunArray::<Int32Type>::try_new(&Int32Array::from(vec![i32::try_from(rows)?]), &word(bytes))?)
            }
            Self::Words(bytes) => Arc::new(StringArray::from(vec!["w".repeat(*bytes); rows])),
            Self::Deep(levels) => (0..*levels).try_fold(Arc::new(numbers()) as ArrayRef, |inner, _| {
                let item = Arc::new(Field::new("item", inner.data_type().clone(), true));
                let offsets = OffsetBuffer::from_repeated_length(1, rows);
                ListArray::try_new(item, offsets, inner, None).map(|list| Arc::new(list) as ArrayRef)
            })?,
        })
    }
}

impl Table {
    fn batch(&self) -> Result<RecordBatch> {
        let (mut fields, mut columns) = (Vec::new(), Vec::new());
        for (name, kind) in &self.columns {
            let array = kind.array(self.rows)?;
            let names = match kind {
                Kind::Wide(many) => (0..*many).map(|n| format!("{name}{n}")).collect(),
                _ => vec![name.clone()],
            };
            for name in names {
                fields.push(Field::new(name, array.data_type().clone(), true));
                columns.push(Arc::clone(&array));
            }
        }
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
    }

    /// As an Arrow IPC stream or file.
    pub fn arrow(&self) -> Result<Vec<u8>> {
        let batch = self.batch()?;
        let codec = match self.codec.as_deref() {
            Some("lz4") => Some(CompressionType::LZ4_FRAME),
            Some("zstd") => Some(CompressionType::ZSTD),
            Some(other) => return Err(format!("Arrow has no {other}").into()),
            None => None,
        };
        let options = IpcWriteOptions::default().try_with_compression(codec)?;
        let batches = std::iter::repeat_n(&batch, self.times);
        if self.file {
            let mut writer = FileWriter::try_new_with_options(Vec::new(), &batch.schema(), options)?;
            batches.into_iter().try_for_each(|batch| writer.write(batch))?;
            return Ok(writer.into_inner()?);
        }
        let mut writer = StreamWriter::try_new_with_options(Vec::new(), &batch.schema(), options)?;
        batches.into_iter().try_for_each(|batch| writer.write(batch))?;
        Ok(writer.into_inner()?)
    }

    /// As a Parquet file.
    pub fn parquet(&self) -> Result<Vec<u8>> {
        let batch = self.batch()?;
        let codec = match self.codec.as_deref() {
            Some("gzip") => Compression::GZIP(GzipLevel::default()),
            Some("brotli") => Compression::BROTLI(BrotliLevel::default()),
            Some("zstd") => Compression::ZSTD(ZstdLevel::default()),
            Some("snappy") => Compression::SNAPPY,
            Some("lz4") => Compression::LZ4,
            Some(other) => return Err(format!("Parquet has no {other} here").into()),
            None => Compression::UNCOMPRESSED,
        };
        let properties = WriterProperties::builder().set_compression(codec);
        let properties = if self.delta {
            properties.set_dictionary_enabled(false).set_encoding(Encoding::DELTA_BYTE_ARRAY)
        } else {
            properties
        };
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties.build()))?;
        for _ in 0..self.times {
            writer.write(&batch)?;
        }
        Ok(writer.into_inner()?)
    }
}
