//! What is beneath an error of a connection: the outermost says no more than that a request failed.

use std::error::Error;
use std::io;

use lakegate_catalog::CatalogError;

use crate::failure::Failure;

/// What a person can do something about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Nothing listens there.
    Refused,
    /// The other end's certificate is not one to trust, or is for another name.
    Certificate,
    /// The other end does not speak TLS.
    NotTls,
    /// Something else: its words have to do.
    Other,
}

/// What can be done about an error.
pub(crate) fn reason(error: &(dyn Error + 'static)) -> Reason {
    chain(error).find_map(known).unwrap_or(Reason::Other)
}

/// Why the companion did not answer, and what to look at.
pub(crate) fn of_companion(error: &CatalogError) -> Failure {
    let see = match reason(error) {
        Reason::Certificate => {
            "see catalog.trusted_certificates, a PEM file with those to trust, and whether the host of catalog.url is in the \
             companion's certificate"
        }
        Reason::NotTls => "see catalog.url: what answers there speaks no TLS, begin it with http://",
        Reason::Refused | Reason::Other => "see catalog.url, and whether `lakegate catalog` runs there",
    };
    Failure::usage(format!("{error}; {see}"))
}

/// The innermost cause.
pub(crate) fn innermost(error: &(dyn Error + 'static)) -> String {
    chain(error).last().map(ToString::to_string).unwrap_or_default()
}

/// All causes, the outermost first, each once.
pub(crate) fn all(error: &(dyn Error + 'static)) -> String {
    let mut texts: Vec<String> = chain(error).map(ToString::to_string).collect();
    texts.dedup();
    texts.join(": ")
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| beneath(error))
}

/// The next cause. An `io::Error` passes over the error that it holds.
fn beneath<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>() {
        Some(io) => io.get_ref().map(|held| held as &(dyn Error + 'static)),
        None => error.source(),
    }
}

fn known(error: &(dyn Error + 'static)) -> Option<Reason> {
    match error.downcast_ref::<rustls::Error>() {
        Some(rustls::Error::InvalidCertificate(_)) => return Some(Reason::Certificate),
        Some(rustls::Error::InvalidMessage(_)) => return Some(Reason::NotTls),
        _ => {}
    }
    let io = error.downcast_ref::<io::Error>()?;
    (io.kind() == io::ErrorKind::ConnectionRefused).then_some(Reason::Refused)
}

#[cfg(test)]
mod tests {
    use rustls::{CertificateError, InvalidMessage};

    use super::*;

    #[test]
    fn reasons_are_found_beneath_what_wraps_them() {
        let certificate = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        for (error, expected) in [
            (io::Error::other(io::Error::new(io::ErrorKind::InvalidData, certificate)), Reason::Certificate),
            (io::Error::other(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)), Reason::NotTls),
            (io::Error::from(io::ErrorKind::ConnectionRefused), Reason::Refused),
            (io::Error::from(io::ErrorKind::TimedOut), Reason::Other),
        ] {
            let error = CatalogError::store(error);
            assert_eq!(reason(&error), expected, "{error}");
        }
    }

    #[test]
    fn each_cause_is_told_once() {
        let certificate = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let error = io::Error::other(io::Error::other(certificate));
        assert_eq!(all(&error), "invalid peer certificate: UnknownIssuer");
        assert_eq!(innermost(&error), all(&error));
    }
}
