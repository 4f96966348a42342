//! An issuer of OpenID Connect on this machine: its keys, and the tokens that it signs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::Utc;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::Result;

/// What its tokens for the gateway have in `aud`.
pub const AUDIENCE: &str = "lakegate";

/// Bytes as tokens have them.
pub fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A private key on the curve P-256, and what it is called.
pub struct Key {
    name: String,
    pair: EcdsaKeyPair,
}

impl Key {
    /// A new one.
    pub fn generate(name: &str) -> Result<Self> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
        Ok(Self { name: name.to_owned(), pair })
    }

    /// The public half, as an issuer shows it.
    pub fn public(&self) -> Value {
        // A byte that says that it is not compressed, then the coordinates.
        let (x, y) = self.pair.public_key().as_ref()[1..].split_at(32);
        json!({"kty": "EC", "crv": "P-256", "use": "sig", "kid": self.name, "x": base64(x), "y": base64(y)})
    }

    /// A token with this header and these claims.
    pub fn sign(&self, header: &Value, claims: &Value) -> Result<String> {
        let message = format!("{}.{}", base64(header.to_string()), base64(claims.to_string()));
        let signature = self.pair.sign(&SystemRandom::new(), message.as_bytes())?;
        Ok(format!("{message}.{}", base64(signature)))
    }

    /// The header of its tokens.
    pub fn header(&self) -> Value {
        json!({"alg": "ES256", "typ": "JWT", "kid": self.name})
    }
}

#[derive(Default)]
struct Told {
    url: String,
    keys: Mutex<Vec<Value>>,
    away: AtomicBool,
    asked: AtomicUsize,
}

/// An issuer; it is gone when this is dropped.
pub struct Issuer {
    told: Arc<Told>,
    task: JoinHandle<()>,
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Issuer {
    /// One that shows these keys.
    pub async fn start(keys: &[&Key]) -> Result<Self> {
        let socket = TcpListener::bind("127.0.0.1:0").await?;
        let told = Arc::new(Told { url: format!("http://{}", socket.local_addr()?), ..Told::default() });
        let routes = Router::new().fallback(serve).with_state(Arc::clone(&told));
        let task = tokio::spawn(async move { axum::serve(socket, routes).await.unwrap_or_default() });
        let issuer = Self { told, task };
        issuer.show(keys);
        Ok(issuer)
    }

    /// What its tokens have in `iss`.
    pub fn url(&self) -> &str {
        &self.told.url
    }

    /// From now on it shows these keys, and no others.
    pub fn show(&self, keys: &[&Key]) {
        *self.told.keys.lock() = keys.iter().map(|key| key.public()).collect();
    }

    /// Whether it answers nothing but errors from now on.
    pub fn set_away(&self, away: bool) {
        self.told.away.store(away, Ordering::SeqCst);
    }

    /// Requests so far.
    pub fn asked(&self) -> usize {
        self.told.asked.load(Ordering::SeqCst)
    }

    /// The claims of a token for `subject` that is good for ten minutes.
    pub fn claims(&self, subject: &str) -> Value {
        let now = Utc::now().timestamp();
        json!({"iss": self.url(), "aud": AUDIENCE, "sub": subject, "iat": now - 10, "exp": now + 600})
    }
}

async fn serve(State(told): State<Arc<Told>>, uri: Uri) -> Response {
    told.asked.fetch_add(1, Ordering::SeqCst);
    if told.away.load(Ordering::SeqCst) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    match uri.path() {
        "/.well-known/openid-configuration" => {
            Json(json!({"issuer": told.url, "jwks_uri": format!("{}/keys", told.url)})).into_response()
        }
        "/keys" => Json(json!({"keys": *told.keys.lock()})).into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}
