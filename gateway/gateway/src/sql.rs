//! `lakegate sql`: a small shell over REST.

use std::io::{BufRead as _, BufReader, IsTerminal as _, Read as _, Write as _};

use lakegate_config::Settings;
use reqwest::Method;
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;
use serde_json::{Value, json};

use crate::cli::{Cli, Output, SqlArgs};
use crate::client::{Client, Problem};
use crate::data_folder::owner_token;
use crate::failure::{Failure, Result, say};
use crate::{serve, settings};

/// What is read from standard input at most.
const MAX_INPUT: u64 = 64 << 20;

const TABLES: &str = "SELECT table_schema || '.' || table_name AS dataset FROM information_schema.tables ORDER BY 1";

const HELP: &str = "\
  SELECT …;     ask; a statement may span lines and ends with `;`
  \\d            list the datasets that you may see
  \\d ns.name    list the columns of one
  \\q            leave (or Ctrl-D)";

/// `lakegate sql`.
pub(crate) fn command(cli: &Cli, args: &SqlArgs) -> Result<()> {
    let settings = settings::load(cli)?;
    let table = args.format == Output::Table;
    let shell = Shell {
        client: client(cli, &settings, args)?,
        format: args.format,
        limit: args.limit.or(table.then_some(1_000)),
    };
    let runtime = serve::runtime(0)?;
    match &args.statement {
        Some(statement) => Ok(runtime.block_on(shell.ask(statement))?),
        None if std::io::stdin().is_terminal() => interact(&runtime, &shell, &args.target.url),
        None => pipe(&runtime, &shell),
    }
}

/// Statements from standard input, each ended by a line that ends with `;`, the last also by the end.
/// The first that fails ends it.
fn pipe(runtime: &tokio::runtime::Runtime, shell: &Shell) -> Result<()> {
    let mut statement = String::new();
    for line in BufReader::new(std::io::stdin().take(MAX_INPUT)).lines() {
        statement.push_str(&line.map_err(|e| Failure::usage(format!("standard input: {e}")))?);
        statement.push('\n');
        if statement.trim_end().ends_with(';') {
            runtime.block_on(shell.ask(&std::mem::take(&mut statement)))?;
        }
    }
    if statement.trim().is_empty() { Ok(()) } else { Ok(runtime.block_on(shell.ask(&statement))?) }
}

/// Anonymous unless told otherwise: public datasets need no token. With --data-dir, that instance's owner.
fn client(cli: &Cli, settings: &Settings, args: &SqlArgs) -> Result<Client> {
    let own = || cli.data_dir.as_ref().and_then(|_| owner_token(&settings.data_dir));
    Client::new(&args.target.url, args.target.token.clone().or_else(own))
}

struct Shell {
    client: Client,
    format: Output,
    limit: Option<u64>,
}

impl Shell {
    async fn ask(&self, statement: &str) -> Result<(), Problem> {
        let format = match self.format {
            Output::Table => "json",
            Output::Csv => "csv",
            Output::Ndjson => "ndjson",
        };
        let sql = statement.trim().trim_end_matches(';');
        let body = json!({"sql": sql, "format": format, "limit": self.limit});
        let request = self.client.request(Method::POST, "/v1/query").json(&body);
        if self.format == Output::Table {
            print_table(&self.client.json(request).await?);
            return Ok(());
        }
        let mut response = self.client.send(request).await?;
        while let Ok(Some(chunk)) = response.chunk().await {
            // A closed pipe ends the printing, not the world.
            if std::io::stdout().write_all(&chunk).is_err() {
                break;
            }
        }
        Ok(())
    }
}

fn interact(runtime: &tokio::runtime::Runtime, shell: &Shell, url: &str) -> Result<()> {
    let mut editor = DefaultEditor::new().map_err(|e| Failure::other(e.to_string()))?;
    say(format_args!("{url} · \\? for help"));
    let mut statement = String::new();
    loop {
        let prompt = if statement.is_empty() { "lakegate> " } else { "       -> " };
        match editor.readline(prompt) {
            Ok(line) if statement.is_empty() && line.trim_start().starts_with('\\') => {
                if !meta(runtime, shell, line.trim()) {
                    return Ok(());
                }
            }
            Ok(line) => {
                statement.push_str(&line);
                statement.push('\n');
            }
            Err(ReadlineError::Interrupted) => statement.clear(),
            Err(ReadlineError::Eof) => return Ok(()),
            Err(error) => return Err(Failure::other(error.to_string())),
        }
        if statement.trim_end().ends_with(';') {
            // History is a convenience; a full or missing one is no error.
            let _ = editor.add_history_entry(statement.trim());
            show(runtime.block_on(shell.ask(&statement)));
            statement.clear();
        } else if statement.trim().is_empty() {
            statement.clear();
        }
    }
}

/// A command that starts with a backslash; false to leave.
fn meta(runtime: &tokio::runtime::Runtime, shell: &Shell, line: &str) -> bool {
    let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
    match (command, rest.trim().split_once('.')) {
        ("\\q", _) => return false,
        ("\\d", None) => show(runtime.block_on(shell.ask(TABLES))),
        ("\\d", Some((namespace, name))) => {
            let quote = |text: &str| text.replace('\'', "''");
            let sql = format!(
                "SELECT column_name, data_type, is_nullable FROM information_schema.columns \
                 WHERE table_schema = '{}' AND table_name = '{}' ORDER BY ordinal_position",
                quote(namespace),
                quote(name)
            );
            show(runtime.block_on(shell.ask(&sql)));
        }
        _ => say(HELP),
    }
    true
}

fn show(answer: Result<(), Problem>) {
    if let Err(problem) = answer {
        say(problem);
    }
}

fn print_table(answer: &Value) {
    let columns: Vec<&str> =
        answer["schema"].as_array().into_iter().flatten().filter_map(|c| c["name"].as_str()).collect();
    let numeric: Vec<bool> = answer["schema"].as_array().into_iter().flatten().map(is_number).collect();
    let rows: Vec<Vec<String>> = answer["rows"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|row| columns.iter().map(|name| cell(&row[*name])).collect())
        .collect();
    let width = |i: usize| rows.iter().map(|row| chars(&row[i])).chain([chars(columns[i])]).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded = cells.zip(&widths).zip(&numeric).map(|((text, width), right)| pad(text, *width, *right));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    say(line(&mut columns.iter().copied()));
    say(widths.iter().map(|width| "-".repeat(*width)).collect::<Vec<_>>().join("  "));
    for row in &rows {
        say(line(&mut row.iter().map(String::as_str)));
    }
    let more = if answer["truncated"] == true { ", and more: raise --limit" } else { "" };
    let noun = if rows.len() == 1 { "row" } else { "rows" };
    say(format_args!("({} {noun}{more})", rows.len()));
    if let Some(detail) = answer["error"]["detail"].as_str() {
        say(format_args!("the answer broke off: {detail}"));
    }
}

fn is_number(column: &Value) -> bool {
    let ty = column["type"].as_str().unwrap_or_default();
    ["smallint", "int", "bigint", "real", "double"].contains(&ty) || ty.starts_with("decimal")
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.replace(|c: char| c.is_control(), " "),
        other => other.to_string(),
    }
}

fn chars(text: &str) -> usize {
    text.chars().count()
}

fn pad(text: &str, width: usize, right: bool) -> String {
    let space = " ".repeat(width.saturating_sub(chars(text)));
    if right { format!("{space}{text}") } else { format!("{text}{space}") }
}
