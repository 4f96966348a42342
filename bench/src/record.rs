//! The raw numbers, one JSON object a line on standard output.

use std::io::Write as _;

use lakegate_e2e::{Result, environment};
use serde_json::{Value, json};

/// Writes measurements as they are made.
pub(crate) struct Recorder;

impl Recorder {
    /// Begins with a line that says what was measured and on what.
    pub(crate) fn start() -> Result<Self> {
        let record = Self;
        let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
        record.line(&json!({
            "run": {
                "commit": environment("LAKEGATE_BENCH_COMMIT", "the commit that is measured")?,
                "suites": std::env::args().skip(1).collect::<Vec<_>>(),
                "processor": model.trim_start_matches([' ', '\t', ':']),
                "processors": std::thread::available_parallelism()?.get(),
                "system": format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
                "datafusion": datafusion::DATAFUSION_VERSION,
                "peers": environment("LAKEGATE_BENCH_PEERS", "the versions of the peers")?.trim(),
            }
        }))?;
        Ok(record)
    }

    /// One measurement: which suite, what was done, by whom, in which round, and the numbers.
    pub(crate) fn measured(&self, suite: &str, what: &str, side: &str, round: u32, numbers: Value) -> Result {
        let mut line = json!({ "suite": suite, "what": what, "side": side, "round": round });
        if let (Some(line), Value::Object(numbers)) = (line.as_object_mut(), numbers) {
            line.extend(numbers);
        }
        self.line(&line)
    }

    #[expect(clippy::unused_self, reason = "a measurement is only written after the line that says on what")]
    fn line(&self, value: &Value) -> Result {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{value}")?;
        Ok(out.flush()?)
    }
}
