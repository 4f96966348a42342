//! The headers of a row group's pages, judged before any page is decoded.
//!
//! A reader allocates what a page declares, and some of its decoders what the page makes: both are
//! bounded here, so that a few bytes cannot ask for gigabytes.

use std::fs::File;
use std::io::Read as _;

use parquet::basic::Compression;
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};

use super::delta;
use super::footer::read_at;
use super::thrift::Thrift;
use super::{invalid, unsupported};
use crate::body::BodyLimits;
use crate::error::{FormatError, Result};

/// Bytes of one page, unpacked.
const MAX_PAGE: u64 = 32 << 20;

/// Bytes that a row group's columns hold open together: a page and a dictionary each, and all of
/// what is nested, since one row may hold any part of it.
const MAX_OPEN: u64 = 128 << 20;

/// Bytes of the header of a page; it may quote the least and the greatest value.
const MAX_HEADER: usize = 1 << 20;

const SMALLER: &str = "write smaller pages and row groups";

/// What a row group takes to decode.
#[derive(Default)]
struct Cost {
    /// Bytes held open.
    open: u64,
    /// Bytes of a row.
    row: u64,
}

/// Checks every page header of a row group; answers how many rows may be decoded at once.
pub(super) fn check(file: &mut File, length: u64, group: &RowGroupMetaData, limits: BodyLimits) -> Result<usize> {
    let mut cost = Cost::default();
    let rows = u64::try_from(group.num_rows()).map_err(|_| invalid("a row group has a negative number of rows"))?;
    for column in group.columns() {
        let mut chunk = Chunk::walk(file, length, column)?;
        if chunk.delta {
            chunk.judge(file, column, rows)?;
        }
        chunk.charge(column, rows, &mut cost)?;
        if cost.open > MAX_OPEN {
            return Err(FormatError::batch_too_large("a row group", MAX_OPEN as usize, SMALLER));
        }
    }
    let fitting = limits.batch_bytes as u64 / cost.row.max(1);
    Ok(usize::try_from(fitting).unwrap_or(usize::MAX).clamp(1, limits.batch_rows))
}

/// What the page headers of one column chunk say.
#[derive(Default)]
struct Chunk {
    values: u64,
    unpacked: u64,
    dictionary: u64,
    largest: u64,
    /// Bytes of a value in the page where they are largest.
    widest: u64,
    /// Whether a page has an encoding that makes more of its texts than it holds.
    delta: bool,
}

impl Chunk {
    fn walk(file: &mut File, length: u64, column: &ColumnChunkMetaData) -> Result<Self> {
        let start = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
        let outside = || invalid("a column chunk lies outside the file");
        let mut at = u64::try_from(start).map_err(|_| outside())?;
        let size = u64::try_from(column.compressed_size()).map_err(|_| outside())?;
        let end = at.checked_add(size).filter(|end| *end <= length).ok_or_else(outside)?;
        check_codec(column)?;
        let mut chunk = Self::default();
        let mut window = Window::default();
        while at < end {
            let (page, header) = window.header(file, at, end)?;
            at += header as u64;
            let packed = page.packed.filter(|packed| *packed <= end - at);
            let packed = packed.ok_or_else(|| invalid("a page is longer than its column chunk"))?;
            chunk.count(&page)?;
            if matches!(column.compression(), Compression::GZIP(_)) {
                check_gzip(file, at, packed, &page)?;
            }
            at += packed;
        }
        Ok(chunk)
    }

    fn count(&mut self, page: &Page) -> Result<()> {
        let Some(unpacked) = page.unpacked else { return Err(invalid("a page has a negative size")) };
        if unpacked > MAX_PAGE {
            return Err(FormatError::batch_too_large("a page", MAX_PAGE as usize, SMALLER));
        }
        let Some(values) = page.values else { return Err(invalid("a page has an impossible number of values")) };
        self.unpacked += unpacked;
        if page.kind == DICTIONARY_PAGE {
            // Readers reserve room for as many values as it claims.
            if values > unpacked {
                return Err(invalid("a dictionary has more values than bytes"));
            }
            self.dictionary = self.dictionary.max(unpacked);
        } else {
            self.delta |= matches!(page.encoding, DELTA_LENGTH_BYTE_ARRAY | DELTA_BYTE_ARRAY);
            self.values += values;
            self.largest = self.largest.max(unpacked);
            self.widest = self.widest.max(unpacked.div_ceil(values.max(1)));
        }
        Ok(())
    }

    /// Counts the texts of pages that hold them in a delta encoding as they are when they are written out.
    fn judge(&mut self, file: &File, column: &ColumnChunkMetaData, rows: u64) -> Result<()> {
        let made = delta::check(file, column, rows)?;
        // Two lengths of each value are held with a page.
        self.largest = self.largest.saturating_add(made.values.saturating_mul(8));
        self.unpacked = self.unpacked.saturating_add(made.bytes);
        self.widest = self.widest.max(made.widest);
        Ok(())
    }

    fn charge(&self, column: &ColumnChunkMetaData, rows: u64, cost: &mut Cost) -> Result<()> {
        let declared = u64::try_from(column.num_values()).ok();
        if declared != Some(self.values) {
            return Err(invalid("a column chunk has another number of values than its pages"));
        }
        let descr = column.column_descr();
        // A value as it is in memory, with its place in the nesting; text and bytes are views of 16 bytes.
        let width = u64::try_from(descr.type_length()).unwrap_or(0).max(16) + 4;
        if width > MAX_PAGE {
            return Err(FormatError::batch_too_large("a value of fixed length", MAX_PAGE as usize, SMALLER));
        }
        cost.open += self.largest + self.dictionary;
        if descr.max_rep_level() > 0 {
            cost.open += self.unpacked + self.values.saturating_mul(width);
            cost.row += (self.values / rows.max(1) + 1).saturating_mul(self.widest + width);
        } else {
            cost.row += self.widest + width;
        }
        Ok(())
    }
}

/// The codecs whose decoders stop at the declared length, and gzip, which is measured first.
fn check_codec(column: &ColumnChunkMetaData) -> Result<()> {
    match column.compression() {
        Compression::UNCOMPRESSED
        | Compression::SNAPPY
        | Compression::GZIP(_)
        | Compression::ZSTD(_)
        | Compression::LZ4_RAW => Ok(()),
        other => {
            let name = other.to_string();
            let name = name.split('(').next().unwrap_or_default();
            Err(unsupported(&format!("the compression {name} is not read"), "use ZSTD, SNAPPY, GZIP or LZ4_RAW"))
        }
    }
}

/// The gzip decoder goes on to the end of its stream, whatever length was declared.
fn check_gzip(file: &mut File, at: u64, packed: u64, page: &Page) -> Result<()> {
    let levels = page.levels.min(packed);
    let declared = page.unpacked.unwrap_or(0);
    let skipped = std::io::Seek::seek(file, std::io::SeekFrom::Start(at + levels));
    skipped.map_err(|_| FormatError::truncated("the end of a page"))?;
    let stream = flate2::read::MultiGzDecoder::new(std::io::BufReader::new(file.take(packed - levels)));
    let made = std::io::copy(&mut stream.take(declared + 1), &mut std::io::sink());
    match made {
        _ if page.plain || packed == levels => Ok(()),
        Ok(made) if made + levels <= declared => Ok(()),
        _ => Err(invalid("a gzip page is damaged, or longer than it says")),
    }
}

const DICTIONARY_PAGE: i64 = 2;

const DELTA_LENGTH_BYTE_ARRAY: i64 = 6;
const DELTA_BYTE_ARRAY: i64 = 7;

/// What is read of a `PageHeader`; a size below zero is none.
#[derive(Default)]
struct Page {
    kind: i64,
    unpacked: Option<u64>,
    packed: Option<u64>,
    values: Option<u64>,
    encoding: i64,
    /// Bytes before the compressed part, in pages of the second version.
    levels: u64,
    /// Whether such a page is not compressed after all.
    plain: bool,
}

impl Page {
    fn read(thrift: &mut Thrift<'_>) -> Result<Self> {
        let mut page = Self { values: Some(0), ..Self::default() };
        thrift.fields(|thrift, id, _| {
            match id {
                1 => page.kind = thrift.integer()?,
                2 => page.unpacked = u64::try_from(thrift.integer()?).ok(),
                3 => page.packed = u64::try_from(thrift.integer()?).ok(),
                5 | 7 => page.version_one(thrift)?,
                8 => page.version_two(thrift)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(page)
    }

    fn version_one(&mut self, thrift: &mut Thrift<'_>) -> Result<()> {
        thrift.fields(|thrift, id, _| {
            match id {
                1 => self.values = count(thrift.integer()?),
                2 => self.encoding = thrift.integer()?,
                _ => return Ok(false),
            }
            Ok(true)
        })
    }

    fn version_two(&mut self, thrift: &mut Thrift<'_>) -> Result<()> {
        thrift.fields(|thrift, id, ty| {
            match id {
                1 => self.values = count(thrift.integer()?),
                4 => self.encoding = thrift.integer()?,
                5 | 6 => self.levels = self.levels.saturating_add(u64::try_from(thrift.integer()?).unwrap_or(u64::MAX)),
                7 => self.plain = ty == 2,
                _ => return Ok(false),
            }
            Ok(true)
        })
    }
}

fn count(values: i64) -> Option<u64> {
    i32::try_from(values).ok().and_then(|values| u64::try_from(values).ok())
}

/// The part of the file in which headers are looked for: small pages share one read.
#[derive(Default)]
struct Window {
    bytes: Vec<u8>,
    start: u64,
}

impl Window {
    const STEP: u64 = 16 << 10;

    /// The header at `at`, and its length.
    fn header(&mut self, file: &mut File, at: u64, end: u64) -> Result<(Page, usize)> {
        let mut step = Self::STEP;
        loop {
            let from = at.checked_sub(self.start).and_then(|from| usize::try_from(from).ok());
            if let Some(bytes) = from.and_then(|from| self.bytes.get(from..)).filter(|bytes| !bytes.is_empty()) {
                let mut thrift = Thrift::new(bytes);
                match Page::read(&mut thrift) {
                    Ok(page) => return Ok((page, thrift.used())),
                    Err(FormatError::Truncated { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            let known = self.bytes.len() as u64;
            if self.start == at && (known == end - at || self.bytes.len() >= MAX_HEADER) {
                return Err(invalid("the header of a page ends too early, or declares more than it holds"));
            }
            let size = step.min(end - at);
            self.bytes = vec![0; usize::try_from(size).unwrap_or(MAX_HEADER)];
            self.start = at;
            read_at(file, at, &mut self.bytes).map_err(|_| FormatError::truncated("the end of a page"))?;
            step = (step * 8).min(MAX_HEADER as u64);
        }
    }
}
