//! Idempotency keys, kept in the table's own transactions.
//!
//! A push with a key commits its rows together with a Delta `txn` action whose application id names
//! the key, the body's hash and the row count, and whose version is the commit's. One commit, so
//! rows without their key, or a key without its rows, cannot exist.

use std::collections::HashMap;
use std::fmt::Write as _;

use deltalake::kernel::Transaction;

const PREFIX: &str = "lakegate.push";

/// What makes a push the same push: who sent it with which key, and what it held.
///
/// Both are the first 128 bits of a SHA-256, made by the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PushKey {
    /// Of principal and key; the dataset is the table.
    pub key: [u8; 16],
    /// Of the decoded body and its format.
    pub body: [u8; 16],
}

/// What an earlier push with the same key did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PushRecord {
    /// The hash of its body.
    pub body: [u8; 16],
    /// The version that it made.
    pub version: u64,
    /// The rows that it added.
    pub rows: u64,
    /// When, in milliseconds since 1970; 0 where the log does not say.
    pub at: i64,
}

/// The pushes that a table remembers, by key.
pub(crate) type Pushes = HashMap<[u8; 16], PushRecord>;

/// The action that a push with a key commits.
pub(crate) fn transaction(push: &PushKey, version: u64, rows: u64, now_millis: i64) -> Transaction {
    let id = format!("{PREFIX}:{}:{}:{rows}", hex(&push.key), hex(&push.body));
    Transaction::new_with_last_update(id, version.cast_signed(), Some(now_millis))
}

/// Reads such an action back; other writers' transactions are none of ours.
pub(crate) fn parse(app_id: &str, version: i64, updated: Option<i64>) -> Option<([u8; 16], PushRecord)> {
    let mut parts = app_id.split(':');
    if parts.next() != Some(PREFIX) {
        return None;
    }
    let key = unhex(parts.next()?)?;
    let body = unhex(parts.next()?)?;
    let rows = parts.next()?.parse().ok()?;
    let version = u64::try_from(version).ok()?;
    Some((key, PushRecord { body, version, rows, at: updated.unwrap_or_default() }))
}

fn hex(bytes: &[u8; 16]) -> String {
    bytes.iter().fold(String::with_capacity(32), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Option<[u8; 16]> {
    (text.len() == 32).then(|| u128::from_str_radix(text, 16).ok()).flatten().map(u128::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_reads_back() {
        let push = PushKey { key: [7; 16], body: [255; 16] };
        let txn = transaction(&push, 12, 34, 56);
        let expected = PushRecord { body: push.body, version: 12, rows: 34, at: 56 };
        assert_eq!(parse(&txn.app_id, txn.version, txn.last_updated), Some((push.key, expected)));
        for other in ["spark:1", "lakegate.push", "lakegate.push:zz:zz:1", ""] {
            assert_eq!(parse(other, 1, None), None, "{other}");
        }
    }
}
