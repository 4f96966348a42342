//! TLS of a listener, from the files that the settings name.

use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::failure::{Failure, Result};

/// What makes connections private; `None` when neither file is set. `section` is that of the settings, `alpn` what is
/// spoken within.
pub(crate) fn acceptor(
    section: &str,
    certificate: Option<&PathBuf>,
    key: Option<&PathBuf>,
    alpn: &[&[u8]],
) -> Result<Option<TlsAcceptor>> {
    let (certificate, key) = match (certificate, key) {
        (None, None) => return Ok(None),
        (Some(certificate), Some(key)) => (certificate, key),
        _ => {
            let both = format!("{section}.tls_certificate and {section}.tls_key go together: set both, or neither");
            return Err(Failure::usage(both));
        }
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| Failure::other(format!("TLS cannot be set up: {e}")))?
        .with_no_client_auth()
        .with_single_cert(certificates(certificate)?, private_key(key)?);
    let mut config = config
        .map_err(|e| Failure::usage(format!("{} and {} do not fit: {e}", certificate.display(), key.display())))?;
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}

fn read(path: &Path) -> Result<BufReader<std::fs::File>> {
    let opened = std::fs::File::open(path);
    opened.map(BufReader::new).map_err(|e| Failure::usage(format!("{} cannot be read: {e}", path.display())))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let bad =
        |e: &dyn std::fmt::Display| Failure::usage(format!("{} holds no certificate in PEM: {e}", path.display()));
    let all: Vec<_> = CertificateDer::pem_reader_iter(read(path)?).collect::<Result<_, _>>().map_err(|e| bad(&e))?;
    if all.is_empty() { Err(bad(&"nothing is in it")) } else { Ok(all) }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    let key = PrivateKeyDer::from_pem_reader(read(path)?);
    key.map_err(|e| Failure::usage(format!("{} holds no private key in PEM: {e}", path.display())))
}
