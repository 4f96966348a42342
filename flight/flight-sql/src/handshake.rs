//! Handshake: a password for a bearer token. The token is the password itself, so that nothing new has to be kept.

use arrow_flight::HandshakeResponse;
use tonic::Response;
use tonic::metadata::MetadataMap;

use crate::caller::{caller, token};
use crate::service::{Flight, Streamed, once};
use crate::status::{Failure, Result};

/// Answers the `authorization` entry that later calls should send.
pub(crate) async fn handshake(
    flight: &Flight,
    metadata: &MetadataMap,
) -> Result<Response<Streamed<HandshakeResponse>>> {
    // Looked up now, so that a wrong password is told here.
    caller(flight.catalog.as_ref(), metadata).await?;
    let token = token(metadata)?;
    let payload = token.as_ref().map(|token| token.reveal().to_owned()).unwrap_or_default();
    let mut response = once(HandshakeResponse { protocol_version: 0, payload: payload.clone().into() });
    if !payload.is_empty() {
        let bearer = format!("Bearer {payload}").parse().map_err(Failure::defect)?;
        response.metadata_mut().insert("authorization", bearer);
    }
    Ok(response)
}
