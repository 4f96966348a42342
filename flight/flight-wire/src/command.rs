//! What a descriptor, a ticket or an action holds: a message of Flight SQL within an `Any`.

use arrow_flight::sql::{Any, Command, ProstMessageExt};
use bytes::Bytes;
use prost::Message as _;

use crate::error::{Result, WireError};

/// Characters of a name that errors repeat.
const SHOWN: usize = 120;

/// The command in a descriptor or a ticket. Errors: `invalid_message`.
pub fn command(bytes: Bytes) -> Result<Command> {
    let message = Any::decode(bytes)?;
    let name = shown(&message.type_url);
    match Command::try_from(message) {
        Ok(Command::Unknown(_)) | Err(_) => Err(WireError::Other(name)),
        Ok(command) => Ok(command),
    }
}

/// The message that an action of Flight SQL has as its body. Errors: `invalid_message`.
pub fn packed<M: ProstMessageExt + Default>(body: Bytes) -> Result<M> {
    let message = Any::decode(body)?;
    let unpacked = message.unpack().map_err(|_| WireError::Other(shown(&message.type_url)))?;
    unpacked.ok_or_else(|| WireError::Other(shown(&message.type_url)))
}

fn shown(name: &str) -> String {
    let name: String = name.chars().take(SHOWN).collect();
    if name.is_empty() { "message without a name".to_owned() } else { name }
}
