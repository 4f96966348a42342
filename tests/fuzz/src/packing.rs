//! Unpacking: the same bytes as the reference gives, however they are split, and never more than allowed.

use std::io::Read as _;

use lakegate_formats::{Gunzip, Result, Unzstd};

use crate::bodies::halves;

const MAX_OUTPUT: u64 = 4 << 20;

type Unpacked = Result<Vec<u8>>;

/// Unpacks gzip.
pub fn gunzip(bytes: &[u8]) {
    let whole = gunzipped(&[bytes]);
    assert_eq!(gunzipped(&halves(bytes)).ok(), whole.clone().ok(), "the split matters");
    if let Ok(unpacked) = whole {
        let mut reference = Vec::new();
        let read = flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut reference);
        assert!(read.is_ok() && reference == unpacked, "other bytes than the reference has");
    }
}

fn gunzipped(pieces: &[&[u8]]) -> Unpacked {
    let (mut gunzip, mut out) = (Gunzip::new(MAX_OUTPUT), Vec::new());
    for piece in pieces {
        gunzip.feed(piece, &mut |part| keep(&mut out, part))?;
    }
    gunzip.finish().map(|()| out)
}

/// Unpacks zstd.
pub fn unzstd(bytes: &[u8]) {
    let whole = unzstandard(&[bytes]);
    assert_eq!(unzstandard(&halves(bytes)).ok(), whole.clone().ok(), "the split matters");
    if let Ok(unpacked) = whole {
        let reference = zstd::decode_all(bytes);
        assert!(reference.is_ok_and(|reference| reference == unpacked), "other bytes than the reference has");
    }
}

fn unzstandard(pieces: &[&[u8]]) -> Unpacked {
    let (mut unzstd, mut out) = (Unzstd::new(MAX_OUTPUT)?, Vec::new());
    for piece in pieces {
        unzstd.feed(piece, &mut |part| keep(&mut out, part))?;
    }
    unzstd.finish().map(|()| out)
}

fn keep(out: &mut Vec<u8>, part: &[u8]) -> Result<()> {
    out.extend_from_slice(part);
    assert!(out.len() as u64 <= MAX_OUTPUT, "more than allowed");
    Ok(())
}
