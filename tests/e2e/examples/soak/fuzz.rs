//! The targets of `tests/fuzz`, one after the other, two at a time once the rest of the machine is quiet.

use std::collections::VecDeque;
use std::process::Stdio;

use futures::future::try_join;
use lakegate_e2e::Result;
use parking_lot::Mutex;
use tokio::process::Command;
use tokio::sync::watch;

use crate::board::Board;

/// Runs each target for so many seconds. `quiet` becomes true when nothing else needs the processors.
pub(crate) async fn fuzz(board: &Board, seconds: u64, mut quiet: watch::Receiver<bool>) -> Result<String> {
    let targets: VecDeque<String> = script(&["targets"]).await?.lines().map(str::to_owned).collect();
    let all = targets.len();
    let lanes = Lanes { waiting: Mutex::new(targets), done: Mutex::default(), all, seconds };
    let second = async {
        // Without a sender there is nothing to wait for.
        let _ = quiet.wait_for(|quiet| *quiet).await;
        lanes.run(board).await
    };
    try_join(lanes.run(board), second).await?;
    let done = lanes.done.lock();
    let found = done.iter().filter(|line| line.starts_with("FAILED")).count();
    let text = format!("{all} targets, {seconds} s each: {}", done.join("; "));
    if found > 0 { Err(text.into()) } else { Ok(text) }
}

struct Lanes {
    waiting: Mutex<VecDeque<String>>,
    done: Mutex<Vec<String>>,
    all: usize,
    seconds: u64,
}

impl Lanes {
    async fn run(&self, board: &Board) -> Result {
        loop {
            let Some(target) = self.waiting.lock().pop_front() else { return Ok(()) };
            board.at("fuzz", format!("{} of {}, at {target}", self.done.lock().len(), self.all));
            let line = match script(&["run", &target, &self.seconds.to_string()]).await {
                Ok(said) => format!("{target} {}", said.trim()),
                Err(error) => format!("FAILED {target}: {error}"),
            };
            self.done.lock().push(line);
        }
    }
}

/// Calls `scripts/fuzz.sh`, behind everything else that wants a processor; answers what it printed.
async fn script(arguments: &[&str]) -> Result<String> {
    let mut command = Command::new("nice");
    command.args(["-n", "19", "sh", "scripts/fuzz.sh"]).args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await?;
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout)?);
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(said.lines().last().unwrap_or("no word").to_owned().into())
}
