//! A push whose body is sent piece by piece, to see what happens in the middle of one.

use bytes::Bytes;
use futures::SinkExt;
use futures::channel::mpsc;
use reqwest::Method;
use tokio::task::JoinHandle;

use crate::client::dataset_path;
use crate::{Answer, Client, Result};

/// A push of NDJSON that has begun and ends with [`OpenPush::finish`].
#[derive(Debug)]
pub struct OpenPush {
    pieces: mpsc::Sender<std::io::Result<Bytes>>,
    answer: JoinHandle<Result<Answer>>,
}

impl OpenPush {
    /// Begins a push. It returns when the gateway has taken so much of it that it must have begun to read.
    /// The dataset has the columns `id` and `name`; rows 0 to [`Self::BEGUN`] are sent.
    pub async fn begin(client: &Client, dataset: &str, idempotency_key: Option<&str>) -> Result<Self> {
        let (pieces, body) = mpsc::channel(0);
        let path = format!("{}/ingest", dataset_path(dataset));
        let mut request = client.request(Method::POST, &path).header("content-type", "application/x-ndjson");
        if let Some(key) = idempotency_key {
            request = request.header("idempotency-key", key);
        }
        let answer = tokio::spawn(Answer::of(request.body(reqwest::Body::wrap_stream(body))));
        let mut push = Self { pieces, answer };
        for id in 0..Self::BEGUN {
            push.row(id).await?;
        }
        Ok(push)
    }

    /// Rows that are sent to begin with: 25 MiB, more than the sockets between us can hold.
    pub const BEGUN: u64 = 400;

    /// Sends one more row, of 64 KiB.
    pub async fn row(&mut self, id: u64) -> Result {
        let row = format!("{{\"id\":{id},\"name\":\"{}\"}}\n", "x".repeat(64 * 1024));
        Ok(self.pieces.send(Ok(row.into())).await?)
    }

    /// Sends one more row, of 64 KiB that do not compress.
    pub async fn noise(&mut self, id: u64) -> Result {
        let mut state = id.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let text: String = (0..64 * 1024)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                char::from(b'0' + (state >> 40) as u8 % 64)
            })
            .map(|c| if c == '\\' { '/' } else { c })
            .collect();
        Ok(self.pieces.send(Ok(format!("{{\"id\":{id},\"name\":\"{text}\"}}\n").into())).await?)
    }

    /// Closes the connection in the middle of the body.
    pub async fn break_off(mut self) -> Result {
        self.pieces.send(Err(std::io::Error::other("broken off"))).await?;
        match self.answer.await? {
            Ok(answer) => Err(format!("a push that was broken off was answered: {}", answer.start()).into()),
            Err(_) => Ok(()),
        }
    }

    /// Ends the body and waits for the answer.
    pub async fn finish(self) -> Result<Answer> {
        drop(self.pieces);
        self.answer.await?
    }
}
