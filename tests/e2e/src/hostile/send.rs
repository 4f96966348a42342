//! The small language in which a case says what to send, so that a bomb of a gigabyte is a line of text.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::{Method, RequestBuilder};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::hostile::TARGET;
use crate::hostile::table::Table;
use crate::{Client, Result};

/// A request.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case", untagged)]
pub enum Sent {
    /// A statement.
    Sql {
        /// The statement's text.
        sql: Content,
        /// Its parameters, as the API takes them.
        #[serde(default)]
        params: Option<Value>,
        /// Which versions it reads, as the API takes it.
        #[serde(default)]
        as_of: Option<Value>,
        /// Its deadline, as the API takes it.
        #[serde(default)]
        timeout: Option<String>,
    },
    /// A push.
    Push(Push),
    /// Anything else.
    Call(Call),
}

/// A request to any path.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// Method and path, such as `POST /v1/query`.
    pub call: String,
    /// The body.
    #[serde(default)]
    pub body: Option<Content>,
    /// Its `Content-Type`; JSON when it is not stated.
    #[serde(default = "json_type", rename = "type")]
    pub content_type: String,
}

fn json_type() -> String {
    "application/json".to_owned()
}

/// A push.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Push {
    /// The body.
    pub push: Content,
    /// Its `Content-Type`; NDJSON when it is not stated, none at all when it is empty.
    #[serde(default = "ndjson", rename = "type")]
    pub content_type: String,
    /// Its `Content-Encoding`.
    #[serde(default)]
    pub encoding: Option<String>,
}

fn ndjson() -> String {
    "application/x-ndjson".to_owned()
}

/// Bytes, written out or made by a rule.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, untagged)]
pub enum Content {
    /// The text itself.
    Text(String),
    /// One after another.
    Joined(Vec<Content>),
    /// The same again and again; `{n}` in it is the number of the repetition, from 1.
    Repeated {
        /// What is repeated.
        repeat: String,
        /// How often.
        times: usize,
        /// What stands between.
        #[serde(default)]
        between: String,
    },
    /// `open` often, `core` once, `close` as often: `((((1))))`.
    Nested {
        /// Before the core.
        nest: String,
        /// In the middle.
        core: String,
        /// After the core.
        close: String,
        /// How often.
        depth: usize,
    },
    /// Bytes as hexadecimal digits; spaces are for the eye.
    Hex {
        /// The digits.
        hex: String,
    },
    /// Zero bytes.
    Zeros {
        /// How many.
        zeros: usize,
    },
    /// What is inside, compressed.
    Gzip {
        /// The content.
        gzip: Box<Content>,
    },
    /// What is inside, compressed with zstd.
    Zstd {
        /// The content.
        zstd: Box<Content>,
    },
    /// An Arrow IPC body.
    Arrow {
        /// What is in it.
        arrow: Table,
    },
    /// A Parquet file.
    Parquet {
        /// What is in it.
        parquet: Table,
    },
    /// A Parquet file whose footer is what is inside.
    Footer {
        /// The encoded metadata.
        footer: Box<Content>,
    },
    /// What is inside with some bytes in place of others.
    Forged {
        /// The content.
        forge: Box<Content>,
        /// The bytes to look for; all of them are replaced.
        find: String,
        /// The bytes to put there, as hexadecimal digits.
        with: String,
        /// Only this occurrence, from 1.
        #[serde(default)]
        nth: Option<usize>,
    },
    /// What is inside with the bytes at a place overwritten.
    Patched {
        /// The content.
        patch: Box<Content>,
        /// The place; from the end when below zero.
        at: i64,
        /// The bytes to put there, as hexadecimal digits.
        hex: String,
    },
    /// What is inside without its last bytes.
    Cut {
        /// The content.
        cut: Box<Content>,
        /// How many bytes are missing.
        bytes: usize,
    },
}

impl Content {
    /// The bytes.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.write(&mut bytes)?;
        Ok(bytes)
    }

    fn write(&self, to: &mut dyn Write) -> Result {
        match self {
            Self::Text(text) => to.write_all(text.as_bytes())?,
            Self::Joined(parts) => parts.iter().try_for_each(|part| part.write(to))?,
            Self::Repeated { repeat, times, between } => repeated(to, repeat, *times, between)?,
            Self::Nested { nest, core, close, depth } => {
                repeated(to, nest, *depth, "")?;
                to.write_all(core.as_bytes())?;
                repeated(to, close, *depth, "")?;
            }
            Self::Hex { hex } => to.write_all(&from_hex(hex)?)?,
            Self::Zeros { zeros } => written_to_length(to, &[0; 64 * 1024], *zeros)?,
            Self::Gzip { gzip } => {
                let mut encoder = GzEncoder::new(to, Compression::fast());
                gzip.write(&mut encoder)?;
                encoder.finish()?;
            }
            Self::Zstd { zstd } => to.write_all(&zstd::encode_all(&zstd.bytes()?[..], 3)?)?,
            Self::Arrow { arrow } => to.write_all(&arrow.arrow()?)?,
            Self::Parquet { parquet } => to.write_all(&parquet.parquet()?)?,
            Self::Footer { footer } => {
                let footer = footer.bytes()?;
                let length = u32::try_from(footer.len())?.to_le_bytes();
                to.write_all(&[b"PAR1", &footer[..], &length, b"PAR1"].concat())?;
            }
            Self::Forged { forge, find, with, nth } => {
                to.write_all(&replaced(&forge.bytes()?, &from_hex(find)?, &from_hex(with)?, *nth)?)?;
            }
            Self::Patched { patch, at, hex } => {
                let mut bytes = patch.bytes()?;
                let start = if *at < 0 { bytes.len() as i64 + at } else { *at };
                let (start, patch) = (usize::try_from(start)?, from_hex(hex)?);
                let place = bytes.get_mut(start..start + patch.len()).ok_or("the patch lies outside")?;
                place.copy_from_slice(&patch);
                to.write_all(&bytes)?;
            }
            Self::Cut { cut, bytes } => {
                let whole = cut.bytes()?;
                to.write_all(&whole[..whole.len().saturating_sub(*bytes)])?;
            }
        }
        Ok(())
    }
}

fn repeated(to: &mut dyn Write, text: &str, times: usize, between: &str) -> Result {
    if between.is_empty() && !text.contains("{n}") {
        // Hundreds of megabytes, so not one by one.
        let block = text.repeat(times.min(64 * 1024 / text.len().max(1) + 1));
        return written_to_length(to, block.as_bytes(), text.len() * times);
    }
    for n in 1..=times {
        if n > 1 {
            to.write_all(between.as_bytes())?;
        }
        to.write_all(text.replace("{n}", &n.to_string()).as_bytes())?;
    }
    Ok(())
}

/// Writes a block again and again until it is `length` bytes.
fn written_to_length(to: &mut dyn Write, block: &[u8], length: usize) -> Result {
    let mut left = length;
    while left > 0 {
        let some = left.min(block.len());
        to.write_all(&block[..some])?;
        left -= some;
    }
    Ok(())
}

fn replaced(bytes: &[u8], find: &[u8], with: &[u8], nth: Option<usize>) -> Result<Vec<u8>> {
    let mut made = Vec::with_capacity(bytes.len());
    let (mut at, mut seen) = (0, 0);
    while at < bytes.len() {
        if !bytes[at..].starts_with(find) {
            made.push(bytes[at]);
            at += 1;
            continue;
        }
        seen += 1;
        made.extend_from_slice(if nth.is_none_or(|nth| nth == seen) { with } else { find });
        at += find.len();
    }
    if seen < nth.unwrap_or(1) {
        return Err(format!("{find:02x?} is there {seen} times").into());
    }
    Ok(made)
}

fn from_hex(digits: &str) -> Result<Vec<u8>> {
    let digits: String = digits.split_whitespace().collect();
    let pairs = (0..digits.len()).step_by(2).map(|at| digits.get(at..at + 2).ok_or("an odd number of hex digits"));
    pairs.map(|pair| Ok(u8::from_str_radix(pair?, 16)?)).collect()
}

impl Sent {
    /// The request, as the client's caller.
    pub fn request(&self, client: &Client) -> Result<RequestBuilder> {
        match self {
            Self::Sql { sql, params, as_of, timeout } => {
                let mut body = json!({ "sql": String::from_utf8(sql.bytes()?)? });
                if let Some(params) = params {
                    body["params"] = params.clone();
                }
                if let Some(as_of) = as_of {
                    body["as_of"] = as_of.clone();
                }
                if let Some(timeout) = timeout {
                    body["timeout"] = json!(timeout);
                }
                Ok(client.request(Method::POST, "/v1/query").json(&body))
            }
            Self::Push(push) => {
                let path = format!("{}/ingest", crate::client::dataset_path(TARGET));
                let mut request = client.request(Method::POST, &path).body(push.push.bytes()?);
                if !push.content_type.is_empty() {
                    request = request.header("content-type", &push.content_type);
                }
                if let Some(encoding) = &push.encoding {
                    request = request.header("content-encoding", encoding);
                }
                Ok(request)
            }
            Self::Call(Call { call, body, content_type }) => {
                let (method, path) = call.split_once(' ').ok_or("a call is a method and a path")?;
                let request = client.request(Method::from_bytes(method.as_bytes())?, path);
                let Some(body) = body else { return Ok(request) };
                Ok(request.header("content-type", content_type).body(body.bytes()?))
            }
        }
    }

    /// What is left of the request when its literals are taken out: two cases with one shape test one
    /// thing. Numbers and quoted strings are literals; the name before a colon in JSON is not.
    pub fn shape(&self) -> String {
        let text = format!("{self:?}").replace("\\\"", "\"").replace("\\\\", "\\");
        without_literals(&text)
    }
}

fn without_literals(text: &str) -> String {
    let mut shape = String::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if c == '\'' {
            while rest.next_if(|&next| next != '\'').is_some() {}
            rest.next();
            shape.push_str("''");
        } else if c.is_ascii_digit() {
            while rest.next_if(|next| next.is_ascii_digit() || *next == '.').is_some() {}
            shape.push('0');
        } else {
            shape.push(c);
        }
    }
    shape
}
