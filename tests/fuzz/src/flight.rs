//! What Flight brings: messages become commands or errors, and no handle opens that was not given.

use arrow_flight::sql::{
    ActionCancelQueryRequest, ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest,
    TicketStatementQuery,
};
use bytes::Bytes;
use lakegate_catalog::{Caller, InstanceKey};
use lakegate_flight_wire::{Purpose, Seal, SetSessionOptionsRequest, WireError, command, packed};
use prost::Message as _;

/// Bytes of an error's text; names that a stranger chose are cut.
const MOST_WORDS: usize = 1_000;

/// - A command that was read is read again as the same from what it is written as.
/// - Errors are short.
/// - The bytes are no handle, nor is a handle with one byte changed; one that was given holds what was put in.
pub fn flight(bytes: &[u8]) {
    let message = Bytes::copy_from_slice(bytes);
    match command(message.clone()) {
        Ok(read) => {
            let written = Bytes::from(read.clone().into_any().encode_to_vec());
            let again = command(written).expect("what was written is read");
            assert_eq!(format!("{read:?}"), format!("{again:?}"));
        }
        Err(error) => short(&error),
    }
    for error in [
        packed::<ActionCreatePreparedStatementRequest>(message.clone()).err(),
        packed::<ActionClosePreparedStatementRequest>(message.clone()).err(),
        packed::<ActionCancelQueryRequest>(message.clone()).err(),
        SetSessionOptionsRequest::decode(message.clone()).err().map(WireError::from),
    ] {
        error.iter().for_each(short);
    }
    handles(bytes);
}

fn short(error: &WireError) {
    let words = error.to_string();
    assert!(words.len() <= MOST_WORDS, "{} bytes of words", words.len());
}

fn handles(bytes: &[u8]) {
    let (seal, nobody) = (Seal::new(InstanceKey::generate()), Caller::Anonymous);
    let held = TicketStatementQuery { statement_handle: Bytes::copy_from_slice(bytes) };
    for purpose in [Purpose::Ticket, Purpose::Prepared, Purpose::Session] {
        assert!(seal.open::<TicketStatementQuery>(purpose, &nobody, bytes).is_err());
        let handle = seal.close(purpose, &nobody, &held);
        assert_eq!(seal.open::<TicketStatementQuery>(purpose, &nobody, &handle).as_ref(), Ok(&held));
        let mut forged = handle;
        let at = bytes.iter().fold(bytes.len(), |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)));
        let at = at % forged.len();
        forged[at] ^= 1;
        assert!(seal.open::<TicketStatementQuery>(purpose, &nobody, &forged).is_err());
    }
}
