//! An issuer whose certificate only the settings know.

use std::sync::Arc;

use lakegate_oidc::{Issuer, Issuers, JwtError};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::signer::{Draft, Signer};
use crate::stage::{AUDIENCE, NOW, now};

/// A certificate of 127.0.0.1, and in PEM who signed it.
fn certified() -> (ServerConfig, Vec<u8>) {
    let mut authority = CertificateParams::new(Vec::new()).expect("parameters");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().expect("a key");
    let pem = authority.self_signed(&authority_key).expect("signed").pem().into_bytes();
    let key = KeyPair::generate().expect("a key");
    let server = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("parameters");
    let certificate = server.signed_by(&key, &rcgen::Issuer::new(authority, authority_key)).expect("signed");
    let private = PrivateKeyDer::try_from(key.serialize_der()).expect("DER");
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .expect("a certificate");
    (config, pem)
}

/// Answers one request with `keys`.
async fn answer(tls: TlsAcceptor, connection: TcpStream, keys: String) -> std::io::Result<()> {
    let mut connection = tls.accept(connection).await?;
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(connection.read_u8().await?);
    }
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", keys.len());
    connection.write_all(format!("{head}{keys}").as_bytes()).await?;
    connection.shutdown().await
}

#[tokio::test]
async fn certificates_of_the_settings_are_trusted_and_no_others() {
    let (config, pem) = certified();
    let (_, stranger) = certified();
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("https://{}", socket.local_addr().expect("bound"));
    let key = Signer::p256("a");
    let keys = json!({"keys": [key.jwk()]}).to_string();
    let tls = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((connection, _)) = socket.accept().await {
            tokio::spawn(answer(tls.clone(), connection, keys.clone()));
        }
    });
    let claims = json!({"iss": url, "aud": AUDIENCE, "sub": "u-17", "exp": NOW + 600});
    let token = Draft { header: json!({"alg": "ES256", "kid": "a"}), claims }.signed(&key);
    let verify = async |ca: Option<&[u8]>| {
        let mut issuer = Issuer::new(&url, AUDIENCE);
        issuer.jwks_url = Some(format!("{url}/keys"));
        issuer.ca = ca.map(<[u8]>::to_vec);
        Issuers::new(vec![issuer]).expect("settings").verify(&token, now()).await.map(|claims| claims.subject)
    };
    assert_eq!(verify(Some(&pem)).await, Ok("u-17".to_owned()));
    let unavailable = JwtError::Unavailable { issuer: url.clone() };
    assert_eq!(verify(None).await, Err(unavailable.clone()));
    assert_eq!(verify(Some(&stranger)).await, Err(unavailable));
}
