//! Bad requests as data, and the runner that judges the answers.
//!
//! A case is `{class, send, expect_code, why}` in `hostile/*.yaml`. Whatever is sent, the answer is a
//! problem document with that code, the process lives, its memory stays under the ceiling of the class,
//! and a push has added all of its rows or none. What Flight can send too is sent by both ways, and answered alike.

mod flight;
mod send;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;

pub use send::{Call, Content, Push, Sent};
pub use table::{Kind, Table};

use crate::process::{self, MIB};
use crate::{Answer, FlightClient, Gateway, Result};

/// One bad request and what must come back.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// The kind of badness.
    pub class: String,
    /// The request.
    pub send: Sent,
    /// The code of the problem document.
    pub expect_code: Expected,
    /// What a less careful gateway would do with it.
    pub why: String,
}

/// The code of an answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Expected {
    /// This one.
    Code(String),
    /// The first of several budgets to be used up, which depends on the machine.
    Race(Vec<String>),
}

impl Expected {
    fn holds(&self, code: &str) -> bool {
        match self {
            Self::Code(expected) => expected == code,
            Self::Race(any) => any.iter().any(|expected| expected == code),
        }
    }
}

/// The cases of one file, and what its classes may cost.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Corpus {
    /// For each class, the MiB by which the peak may exceed what the idle process had.
    pub ceilings: BTreeMap<String, u64>,
    /// The cases.
    pub cases: Vec<Case>,
}

impl Corpus {
    /// Reads one file of `tests/e2e/hostile`.
    pub fn read(name: &str) -> Result<Self> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("hostile").join(name);
        let text = std::fs::read_to_string(&path)?;
        Ok(serde_yaml_ng::from_str(&text).map_err(|error| format!("{name}: {error}"))?)
    }

    /// The classes that have cases.
    pub fn classes(&self) -> BTreeSet<&str> {
        self.cases.iter().map(|case| case.class.as_str()).collect()
    }

    /// How many cases of a class differ in more than their literals.
    pub fn distinct(&self, class: &str) -> usize {
        let shapes: BTreeSet<String> =
            self.cases.iter().filter(|case| case.class == class).map(|case| case.send.shape()).collect();
        shapes.len()
    }
}

/// The dataset that pushes go to unless the case names its own. It holds one row before each case.
pub const TARGET: &str = "hostile.target";

/// Makes ready what the cases stand on: `hostile.target` with one row.
pub async fn prepare(gateway: &Gateway) -> Result {
    let columns = [
        ("id", "bigint"),
        ("small", "smallint"),
        ("whole", "int"),
        ("price", "decimal(10,2)"),
        ("ratio", "double"),
        ("name", "string"),
        ("day", "date"),
        ("at", "timestamp"),
        ("flag", "boolean"),
        ("tags", "list<string>"),
    ];
    let mut schema: Vec<_> = columns.iter().map(|(name, ty)| serde_json::json!({ "name": name, "type": ty })).collect();
    schema.push(serde_json::json!({ "name": "needed", "type": "string", "nullable": false }));
    let body = serde_json::json!({ "name": TARGET, "schema": schema });
    gateway.client().post("/v1/datasets", &body).await?.expect(201)?;
    gateway.client().push(TARGET, "{\"id\":1,\"needed\":\"here\"}\n").await?.expect(200)?;
    Ok(())
}

/// Sends every case of a class, one after another, and says which were answered wrongly.
pub async fn run(gateway: &mut Gateway, corpus: &Corpus, class: &str) -> Result<Vec<String>> {
    Ok(run_by(gateway, corpus, class, None).await?.1)
}

/// The same over Flight; how many cases could be sent, and which were answered wrongly.
pub async fn run_over_flight(gateway: &mut Gateway, corpus: &Corpus, class: &str) -> Result<(usize, Vec<String>)> {
    let client = FlightClient::connect(gateway.flight(), Some(gateway.token())).await?;
    run_by(gateway, corpus, class, Some(&client)).await
}

async fn run_by(
    gateway: &mut Gateway,
    corpus: &Corpus,
    class: &str,
    flight: Option<&FlightClient>,
) -> Result<(usize, Vec<String>)> {
    let ceiling = corpus.ceilings.get(class).ok_or_else(|| format!("no ceiling is stated for {class}"))? * MIB;
    let idle = process::peak_memory(gateway.pid()?)?;
    let (mut sent, mut wrong) = (0, Vec::new());
    for case in corpus.cases.iter().filter(|case| case.class == class) {
        let call = match flight {
            None => None,
            Some(client) => match flight::Call::of(&case.send)? {
                Some(call) => Some((client, call)),
                None => continue,
            },
        };
        sent += 1;
        let judged = judge(gateway, case, idle + ceiling, call).await;
        // A process that is gone answers nothing more.
        gateway.alive().map_err(|error| format!("{}: {error}", case.why))?;
        if let Err(error) = judged {
            wrong.push(format!("{} ({class}): {error}", case.why));
        }
    }
    Ok((sent, wrong))
}

async fn judge(gateway: &Gateway, case: &Case, ceiling: u64, call: Option<(&FlightClient, flight::Call)>) -> Result {
    let client = gateway.client();
    let before = client.count(TARGET).await?;
    process::reset_peak(gateway.pid()?)?;
    let start = process::peak_memory(gateway.pid()?)?;
    let (code, said) = match call {
        Some((flight, call)) => call.send(flight).await,
        None => {
            let answer = Answer::of(case.send.request(client)?).await?;
            (answer.code(), format!("{} {}", answer.status, answer.start()))
        }
    };
    let peak = process::peak_memory(gateway.pid()?)?;
    let after = client.count(TARGET).await?;

    if peak > ceiling {
        let [start, peak, ceiling] = [start, peak, ceiling].map(|bytes| bytes / MIB);
        return Err(format!("{start} MiB became {peak} MiB, the ceiling is {ceiling} MiB").into());
    }
    if !code.is_some_and(|code| case.expect_code.holds(&code)) {
        return Err(format!("expected {:?}, got {said}", case.expect_code).into());
    }
    if after != before {
        return Err(format!("refused, and yet {before} rows became {after}").into());
    }
    client.get("/healthz").await?.expect(200)?;
    Ok(())
}
