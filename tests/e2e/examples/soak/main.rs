//! The long proofs, each printed as a line of a report when it ends: `soak [part[=count] ...]`, all of them when none is
//! named. `make soak` runs it and keeps the report in `docs/soak/`. How far it is goes to standard error.
//!
//! - overload: three and ten times the clients that keep a gateway busy; at least 80 % of the best is still done, and
//!   10 s later all is as before. It has the machine for itself. Counts seconds of each load
//! - answer: 5 GB of rows to a reader of 1 MiB/s; the peak stays under idle + 256 MiB. Counts MiB
//! - faults: every fault of an object store 50 times; no row lost, doubled or changed. Counts rounds
//! - kills: 50 times kill -9 under pushes; every acknowledged row exactly once. Counts kills
//! - cluster: 50 times kill -9 of a gateway, the companion or PostgreSQL while two gateways on S3 are under load; nothing
//!   acknowledged is lost, each push is there once, no right counts too long. Counts kills
//! - push: 2 GiB of NDJSON in one push; the peak stays under idle + 256 MiB. Counts MiB
//! - fuzz: each target of `tests/fuzz`. Counts seconds of each
//!
//! After overload the answer, which is mostly idle, runs beside the others: push, kills, cluster and faults one after the other, and
//! fuzzing with what they leave of the processors. A part that fails leaves the others alone; the program then fails.

mod board;
mod fuzz;
mod parts;

use std::future::Future;
use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use board::Board;
use lakegate_e2e::Result;
use lakegate_e2e::process::MIB;
use tokio::sync::watch;

/// The parts, and their full counts.
const PARTS: [(&str, u64); 7] =
    [("overload", 20), ("push", 2048), ("kills", 50), ("cluster", 50), ("faults", 50), ("answer", 4769), ("fuzz", 600)];

/// What is not done by then has failed.
const MOST: Duration = Duration::from_secs(150 * 60);

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let soak = Soak { asked: asked(std::env::args().skip(1))?, board: Board::new(), until: Instant::now() + MOST };
    let good = tokio::select! {
        good = soak.run() => good,
        () = soak.board.tell() => false,
    };
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

type Asked = Vec<(&'static str, u64)>;

/// The parts that the words name, with their counts.
fn asked(words: impl Iterator<Item = String>) -> Result<Asked> {
    let named = |word: String| {
        let (name, count) = word.split_once('=').map_or((&word[..], None), |(name, count)| (name, Some(count)));
        let known = PARTS.iter().find(|(part, _)| *part == name);
        let (part, full) = known.ok_or_else(|| format!("no part `{name}`; there are {PARTS:?}"))?;
        Ok((*part, count.map_or(Ok(*full), str::parse)?))
    };
    let asked = words.map(named).collect::<Result<Asked>>()?;
    Ok(if asked.is_empty() { PARTS.to_vec() } else { asked })
}

struct Soak {
    asked: Asked,
    board: Board,
    until: Instant,
}

impl Soak {
    /// Runs everything; true when all is well.
    async fn run(&self) -> bool {
        let board = &self.board;
        let overload = self.part("overload", parts::overload).await;
        let (quieter, quiet) = watch::channel(false);
        let busy = async {
            let push = self.part("push", |count| parts::push(board, count * MIB)).await;
            let kills = self.part("kills", |count| parts::kills(rounds(count), full("kills", count))).await;
            let cluster = self.part("cluster", |count| parts::cluster(rounds(count))).await;
            let faults = self.part("faults", |count| parts::deal_faults(board, rounds(count))).await;
            // The receiver may have ended before.
            let _ = quieter.send(true);
            push && kills && cluster && faults
        };
        let answer = self.part("answer", |count| parts::answer(board, count * MIB));
        let fuzz = self.part("fuzz", |count| fuzz::fuzz(board, count, quiet));
        let (busy, answer, fuzz) = tokio::join!(busy, answer, fuzz);
        overload && busy && answer && fuzz
    }

    /// Runs one part if it is asked for, and reports it; false when it failed.
    async fn part<F>(&self, name: &'static str, work: impl FnOnce(u64) -> F) -> bool
    where
        F: Future<Output = Result<String>>,
    {
        let Some((_, count)) = self.asked.iter().find(|(asked, _)| *asked == name) else { return true };
        let started = Instant::now();
        self.board.at(name, "begun");
        let ended = tokio::time::timeout_at(self.until.into(), work(*count)).await;
        let ended =
            ended.unwrap_or_else(|_| Err(format!("not done {} minutes after the start", MOST.as_secs() / 60).into()));
        let mut good = ended.is_ok();
        let reduced = if full(name, *count) { "" } else { " (reduced)" };
        let failed = if good { "" } else { " FAILED:" };
        let said = ended.unwrap_or_else(|error| error.to_string());
        let line = format!("{name}{reduced}:{failed} {said}; {} s", started.elapsed().as_secs());
        self.board.ended(name, &line);
        good &= writeln!(std::io::stdout(), "{line}").is_ok();
        good
    }
}

/// Whether so many are as many as the proof takes.
fn full(name: &str, count: u64) -> bool {
    PARTS.iter().any(|(part, full)| *part == name && count >= *full)
}

fn rounds(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
