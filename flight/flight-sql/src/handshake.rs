//! Handshake: a password for a bearer token. A token that is sent as the password is answered itself, a name and its
//! password with a token that ends.

use std::net::IpAddr;

use arrow_flight::HandshakeResponse;
use lakegate_catalog::{AuditAction, Caller, ErrorKind, NewPrincipal};
use tonic::Response;
use tonic::metadata::MetadataMap;

use crate::caller::Credential;
use crate::service::{Flight, Streamed, once};
use crate::status::{Failure, Result};

/// Answers the `authorization` entry that later calls should send. `from` is who asks.
pub(crate) async fn handshake(
    flight: &Flight,
    metadata: &MetadataMap,
    from: Option<IpAddr>,
) -> Result<Response<Streamed<HandshakeResponse>>> {
    let payload = match flight.credential(metadata)? {
        Some(Credential::Password { name, password }) => {
            let visit = flight.visit(AuditAction::LogIn, &Caller::Anonymous);
            // A name that nobody can have may be a password in the wrong place.
            if NewPrincipal::valid_name(&name) {
                visit.say(&name);
            }
            let (principal, token, _) = flight.door.log_in(&name, &password, from, None).await.map_err(|error| {
                visit.end(Some((error.kind(), error.code())));
                let failure = Failure::from(error);
                match failure.kind {
                    ErrorKind::Unauthenticated => failure.with("an API token (lg_…) may be the password, too"),
                    _ => failure,
                }
            })?;
            visit.by(&principal.into());
            visit.end(None);
            Some(token.reveal().to_owned())
        }
        shown => {
            // Looked up now, so that a wrong one is told here.
            flight.caller(metadata).await?;
            match shown {
                Some(Credential::Token(token)) => Some(token.reveal().to_owned()),
                Some(Credential::Foreign(token)) => Some(token),
                _ => None,
            }
        }
    };
    let payload = payload.unwrap_or_default();
    let mut response = once(HandshakeResponse { protocol_version: 0, payload: payload.clone().into() });
    if !payload.is_empty() {
        let bearer = format!("Bearer {payload}").parse().map_err(Failure::defect)?;
        response.metadata_mut().insert("authorization", bearer);
    }
    Ok(response)
}
