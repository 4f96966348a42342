//! Tables of a run: for each thing that was measured the median of each side, and the ratio to the first side, in pairs.

use std::collections::BTreeMap;
use std::io::Write as _;

use lakegate_e2e::Result;
use serde_json::Value;

/// Numbers of one side by round.
type Rounds = BTreeMap<u64, f64>;

/// The numbers of a suite that its tables compare.
const FIGURES: &[(&str, &str)] = &[
    ("tpch", "ms"),
    ("scan", "ms"),
    ("scan", "bytes"),
    ("answers", "mb_per_core_second"),
    ("answers", "rows_per_core_second"),
    ("pushes", "per_second"),
    ("pushes", "p50_ms"),
    ("pushes", "p99_ms"),
    ("ages", "p50_ms"),
    ("flight-tpch", "ms"),
    ("flight-answer", "mb_per_second"),
    ("flight-latency", "p50_ms"),
    ("flight-latency", "p99_ms"),
    ("flight-latency", "per_second"),
    ("flight-put", "rows_per_second"),
    ("authorise", "us"),
    ("namespace", "ms"),
    ("policies", "ms"),
    ("claims", "per_second"),
    ("footprint", "ms"),
    ("footprint", "idle_bytes"),
    ("counts", "instructions"),
];

/// Prints a run's tables in Markdown.
pub(crate) fn print(file: &str) -> Result {
    let text = std::fs::read_to_string(file)?;
    let lines = text.lines().map(serde_json::from_str).collect::<serde_json::Result<Vec<Value>>>()?;
    let mut out = std::io::stdout().lock();
    for run in lines.iter().filter_map(|line| line.get("run")) {
        let [commit, processor] = ["commit", "processor"].map(|name| run[name].as_str().unwrap_or_default());
        writeln!(out, "Run on {commit}: {} × {processor}\n", run["processors"])?;
    }
    for (suite, figure) in FIGURES {
        let table = Table::of(&lines, suite, figure);
        if !table.sides.is_empty() {
            table.write(&mut out, suite, figure)?;
        }
    }
    Ok(())
}

#[derive(Default)]
struct Table {
    /// In the order in which they were measured.
    sides: Vec<String>,
    rows: Vec<(String, BTreeMap<String, Rounds>)>,
}

impl Table {
    fn of(lines: &[Value], suite: &str, figure: &str) -> Self {
        let mut table = Self::default();
        for line in lines.iter().filter(|line| line["suite"] == suite) {
            let (Some(what), Some(side)) = (line["what"].as_str(), line["side"].as_str()) else {
                continue;
            };
            if !table.sides.iter().any(|known| known == side) {
                table.sides.push(side.to_owned());
            }
            if !table.rows.iter().any(|(known, _)| known == what) {
                table.rows.push((what.to_owned(), BTreeMap::new()));
            }
            let row = table.rows.iter_mut().find(|(known, _)| known == what);
            if let (Some((_, sides)), Some(number)) = (row, line[figure].as_f64()) {
                sides.entry(side.to_owned()).or_default().insert(line["round"].as_u64().unwrap_or(0), number);
            }
        }
        table
    }

    fn write(&self, out: &mut impl std::io::Write, suite: &str, figure: &str) -> Result {
        let first = &self.sides[0];
        let others = &self.sides[1..];
        writeln!(out, "### {suite}: {figure}, median\n")?;
        write!(out, "| | {} |", self.sides.join(" | "))?;
        others.iter().try_for_each(|side| write!(out, " {first} / {side} |"))?;
        writeln!(out, "\n|---|{}", "---:|".repeat(self.sides.len() + others.len()))?;
        let mut ratios: Vec<Vec<f64>> = vec![Vec::new(); others.len()];
        for (what, sides) in &self.rows {
            write!(out, "| {what} |")?;
            for side in &self.sides {
                match sides.get(side).and_then(|rounds| median(rounds.values().copied().collect())) {
                    Some(number) if number >= 10_000.0 => write!(out, " {number:.0} |")?,
                    Some(number) => write!(out, " {number:.1} |")?,
                    None => write!(out, " – |")?,
                }
            }
            for (side, all) in others.iter().zip(&mut ratios) {
                match pairs(sides.get(first), sides.get(side)) {
                    Some(ratio) => {
                        all.push(ratio);
                        write!(out, " {ratio:.2} |")?;
                    }
                    None => write!(out, " – |")?,
                }
            }
            writeln!(out)?;
        }
        if self.rows.len() > 1 && !others.is_empty() {
            write!(out, "| median of the ratios |{}", " |".repeat(self.sides.len()))?;
            for all in ratios {
                match median(all) {
                    Some(ratio) => write!(out, " {ratio:.2} |")?,
                    None => write!(out, " – |")?,
                }
            }
            writeln!(out)?;
        }
        Ok(writeln!(out)?)
    }
}

/// The median of the ratios of each round: both sides of a pair had the same neighbours on the machine.
fn pairs(first: Option<&Rounds>, second: Option<&Rounds>) -> Option<f64> {
    let (first, second) = (first?, second?);
    median(first.iter().filter_map(|(round, a)| second.get(round).map(|b| a / b)).collect())
}

fn median(mut numbers: Vec<f64>) -> Option<f64> {
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    match numbers.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(numbers[middle]),
        _ => Some((numbers[middle - 1] + numbers[middle]) / 2.0),
    }
}
