//! Private connections: with a certificate and its key the listener speaks TLS, and nothing else.

use std::path::Path;

use lakegate_clients::{Environment, pytest};
use lakegate_e2e::{FlightClient, Options, Result};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// An authority, and a certificate of its for this machine: the files `root.pem`, `chain.pem`, `key.pem`.
fn certificates(folder: &Path) -> Result {
    let mut authority = CertificateParams::new(vec![])?;
    authority.distinguished_name.push(DnType::CommonName, "An authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate()?;
    let root = authority.self_signed(&authority_key)?;
    let key = KeyPair::generate()?;
    let mut server = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    // Of the name of its issuer it would pass for the authority itself.
    server.distinguished_name.push(DnType::CommonName, "localhost");
    let certificate = server.signed_by(&key, &Issuer::new(authority, authority_key))?;
    std::fs::write(folder.join("root.pem"), root.pem())?;
    std::fs::write(folder.join("chain.pem"), certificate.pem())?;
    Ok(std::fs::write(folder.join("key.pem"), key.serialize_pem())?)
}

fn with_files(options: Options, certificate: &str, key: &str) -> Options {
    let path = |name: &str| options.folder().join(name).to_string_lossy().into_owned();
    let (certificate, key) = (path(certificate), path(key));
    options.setting("flight.tls_certificate", &certificate).setting("flight.tls_key", &key)
}

#[tokio::test]
async fn clients_connect_by_tls() -> Result {
    let options = Options::demo()?;
    certificates(options.folder())?;
    let gateway = with_files(options, "chain.pem", "key.pem").start().await?;
    assert!(gateway.flight().starts_with("grpc+tls://"), "{}", gateway.flight());
    let root = gateway.options().folder().join("root.pem");
    pytest(&gateway, Environment::Adbc, "test_tls.py", &[("LAKEGATE_ROOT", &root.to_string_lossy())]).await?;
    // A token in plain text reaches nobody: such a connection does not come to be.
    let plain = gateway.flight().replacen("grpc+tls://", "grpc://", 1);
    let refused = match FlightClient::connect(&plain, Some(gateway.token())).await {
        Ok(client) => client.ask("SELECT 1").await.is_err(),
        Err(_) => true,
    };
    assert!(refused);
    Ok(())
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named() -> Result {
    let options = Options::serve()?;
    certificates(options.folder())?;
    std::fs::write(options.folder().join("empty.pem"), "")?;
    let alone = options.clone().setting("flight.tls_key", &options.folder().join("key.pem").to_string_lossy());
    for (options, words) in [
        (alone, "flight.tls_certificate and flight.tls_key"),
        (with_files(options.clone(), "missing.pem", "key.pem"), "missing.pem"),
        (with_files(options.clone(), "empty.pem", "key.pem"), "empty.pem"),
        (with_files(options.clone(), "key.pem", "key.pem"), "key.pem"),
        (with_files(options.clone(), "chain.pem", "chain.pem"), "chain.pem"),
        (with_files(options.clone(), "root.pem", "key.pem"), "do not fit"),
    ] {
        let output = options.command()?.output().await?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(words), "{words} is not in: {said}");
    }
    Ok(())
}
