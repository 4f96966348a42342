//! What was acknowledged is on disk: under kill -9, in the order of system calls, and for other readers.

use std::path::Path;

use lakegate_e2e::{Gateway, Options, Result, crash, environment};

#[tokio::test]
async fn every_acknowledged_row_survives_kill_9_exactly_once() -> Result {
    let tally = crash::rounds(3).await?;
    assert_eq!(tally.rounds, 3);
    assert!(tally.acknowledged > 0 && tally.sent_again > 0, "{tally:?}");
    Ok(())
}

/// Another implementation reads the folder, without us.
#[tokio::test]
async fn another_delta_reader_opens_the_table() -> Result {
    let python = environment("LAKEGATE_PYTHON", "an interpreter with tests/requirements.txt installed")?;
    let gateway = Gateway::start().await?;
    let client = gateway.client();
    client
        .create("shop.orders", &[("id", "bigint"), ("at", "timestamp"), ("price", "decimal(10,2)")])
        .await?
        .expect(201)?;
    // More versions than it takes for a checkpoint.
    for id in 0..55 {
        let row = format!("{{\"id\":{id},\"at\":\"2024-05-01T12:00:00Z\",\"price\":1.5}}\n");
        client.push("shop.orders", row).await?.expect(200)?;
    }
    let id =
        client.get("/v1/datasets/shop/orders").await?.expect(200)?.json()?["id"].as_str().unwrap_or("?").to_owned();
    let table = gateway.options().kept().join("lake/root").join(id);
    let script = "import sys, deltalake\n\
                  t = deltalake.DeltaTable(sys.argv[1])\n\
                  rows = t.to_pyarrow_table()\n\
                  print(t.version() >= 55, rows.num_rows, sum(rows['id'].to_pylist()), rows['price'].type)";
    let output = tokio::process::Command::new(python).arg("-c").arg(script).arg(&table).output().await?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said.trim(), "True 55 1485 decimal128(10, 2)", "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// A client of others reads the Arrow stream.
#[tokio::test]
async fn another_arrow_reader_opens_the_answer() -> Result {
    let python = environment("LAKEGATE_PYTHON", "an interpreter with tests/requirements.txt installed")?;
    let gateway = Gateway::demo().await?;
    let script = "import sys, json, urllib.request, pyarrow.ipc\n\
                  body = json.dumps({'sql': 'SELECT origin, delay, date FROM demo.flights'}).encode()\n\
                  request = urllib.request.Request(sys.argv[1] + '/v1/query?format=arrow', body, {'Content-Type': 'application/json'})\n\
                  rows = pyarrow.ipc.open_stream(urllib.request.urlopen(request)).read_all()\n\
                  print(rows.num_rows, sum(rows['delay'].to_pylist()), ' '.join(str(t) for t in rows.schema.types))";
    let output = tokio::process::Command::new(python).arg("-c").arg(script).arg(gateway.base()).output().await?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let sum = gateway.client().rows("SELECT sum(delay) AS n FROM demo.flights").await?;
    let expected =
        format!("20000 {} string int64 timestamp[us]", sum.first().map_or(0, |row| row["n"].as_i64().unwrap_or(0)));
    assert_eq!(said.trim(), expected, "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// The line at which each call *ended*, with what strace says of it: `-f` splits calls of threads in two.
fn ended_calls(trace: &str) -> Vec<(usize, String)> {
    let mut begun = std::collections::HashMap::new();
    let mut calls = Vec::new();
    for (at, line) in trace.lines().enumerate() {
        let (thread, call) = line.split_once(' ').unwrap_or(("", line));
        let call = call.trim_start();
        if let Some(start) = call.strip_suffix("<unfinished ...>") {
            begun.insert(thread, start.to_owned());
        } else if let Some((_, rest)) = call.split_once(" resumed>") {
            calls.push((at, begun.remove(thread).unwrap_or_default() + rest));
        } else {
            calls.push((at, call.to_owned()));
        }
    }
    calls
}

/// The line at which a call that writes to a socket *began*.
fn first_answer(trace: &str, after: usize) -> Option<usize> {
    let answer = |line: &str| line.contains("HTTP/1.1 200") && (line.contains("socket:") || line.contains("TCP:"));
    trace.lines().enumerate().skip(after).find(|(_, line)| answer(line)).map(|(at, _)| at)
}

fn synced(calls: &[(usize, String)], from: usize, to: usize, what: impl Fn(&str) -> bool) -> bool {
    let path = |call: &str| Some(call.split_once('<')?.1.split_once('>')?.0.to_owned());
    calls.iter().filter(|(at, _)| (from..to).contains(at)).any(|(_, call)| {
        let sync = call.starts_with("fsync(") || call.starts_with("fdatasync(");
        sync && call.ends_with("= 0") && path(call).is_some_and(|path| what(&path))
    })
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn file_log_entry_and_folders_are_synced_before_the_answer_leaves() -> Result {
    let options = Options::serve()?;
    let trace_file = options.folder().join("trace");
    let trace_name = trace_file.to_string_lossy().into_owned();
    let calls = "trace=fsync,fdatasync,write,writev,sendto,sendmsg";
    let options = options.under(&["strace", "-f", "-y", "-s", "200", "-e", calls, "-o", &trace_name]);
    let gateway = options.start().await?;
    let client = gateway.client();
    client.create("shop.orders", &[("id", "bigint")]).await?.expect(201)?;
    let before = std::fs::read_to_string(&trace_file)?.lines().count();
    client.push("shop.orders", "{\"id\":1}\n").await?.expect(200)?;
    let (_folder, _) = gateway.stop().await?;

    let trace = std::fs::read_to_string(&trace_file)?;
    let answer = first_answer(&trace, before).ok_or("no answer in the trace")?;
    let calls = ended_calls(&trace);
    let folder = |path: &str, parent: &str| Path::new(path).parent().is_some_and(|p| p.ends_with(parent));
    let check = |what: &str, found: bool| assert!(found, "{what} was not synced before the answer:\n{trace}");
    check(
        "the data file",
        synced(&calls, before, answer, |path| path.contains(".parquet") && !path.contains("_delta_log")),
    );
    check(
        "the log entry",
        synced(&calls, before, answer, |path| path.contains("_delta_log/") && path.contains("json")),
    );
    check("the log's folder", synced(&calls, before, answer, |path| path.ends_with("/_delta_log")));
    check("the table's folder", synced(&calls, before, answer, |path| folder(path, "lake/root")));
    Ok(())
}
