//! What fuzzing starts from, written to a folder for each target: the hostile corpus, the statements of the `.slt`
//! cases, and sound bodies of every kind. `scripts/fuzz.sh` runs it.
//!
//!     seeds FOLDER

use std::path::{Path, PathBuf};

use arrow_flight::sql::{self, ProstMessageExt as _};
use lakegate_e2e::Result;
use lakegate_e2e::hostile::{Corpus, Kind, Push, Sent, Table};
use prost::Message as _;

/// Larger ones are slow to mutate: bombs stay in the corpus of the end-to-end tests.
const MOST_BYTES: usize = 32 << 10;

/// Bodies whose columns are those of the targets' schema, `COLUMNS` in `tests/fuzz`.
const NDJSON: &str = r#"{"id":1,"small":-2,"whole":3,"price":"4.50","ratio":0.5,"name":"a\u00e9\n","day":"2026-01-31","at":"2026-01-31T00:00:00.000001+01:00","flag":true,"tags":["x",null],"needed":"n"}
{"real":1e9,"bytes":"AAEC","clock":"2026-01-31T12:00:00","parts":{"a":"b","b":["0.000000001",-7]},"map":[["k",1],["l",null]],"needed":""}

{"ratio":"NaN","price":12345678.9,"id":"9007199254740993","tags":[],"parts":null,"nothing":[{}],"needed":"\ud83d\ude00"}
"#;
const CSV: &str = "needed,id,name,price,day,flag,tags,parts,map,bytes,ratio,at\r\n\
                   a,1,\"b\"\"c\n\",4.50,2026-01-31,true,\"[\"\"x\"\",null]\",\"{\"\"a\"\":\"\"b\"\"}\",\"[[\"\"k\"\",1]]\",AAEC,-Infinity,2026-01-31T00:00:00Z\r\n\
                   \"\",,\"\",,,,,,,,,\r\n";
const WITHOUT_SCHEMA: &str = r#"{"i":1,"d":1.5,"u":18446744073709551615,"b":true,"t":"2026-01-01T00:00:00Z","l":[1,[2]],"o":{"x":[],"y":"a"},"v":null}
{"i":-2,"d":2,"l":[],"o":{"z":{"deep":[[true]]}}}
"#;
const CSV_WITHOUT_SCHEMA: &str = "i,d,b,t,day,zip,none,big\n1,1,true,2026-01-01T00:00:00Z,2026-01-01,00501,,18446744073709551615\n,2.5,FALSE,,2026-01-02,12345,,1\n";

fn main() -> Result {
    let folder = std::env::args().nth(1).ok_or("name the folder to write to")?;
    let mut seeds = Seeds { folder: folder.into(), written: 0 };
    for name in ["sql.yaml", "bodies.yaml", "columnar.yaml"] {
        for case in Corpus::read(name)?.cases {
            seeds.hostile(&case.send)?;
        }
    }
    seeds.statements()?;
    seeds.text()?;
    seeds.commands()?;
    seeds.columnar()
}

struct Seeds {
    folder: PathBuf,
    written: u32,
}

impl Seeds {
    fn add(&mut self, target: &str, bytes: &[u8]) -> Result {
        if bytes.len() <= MOST_BYTES {
            let folder = self.folder.join(target);
            std::fs::create_dir_all(&folder)?;
            self.written += 1;
            std::fs::write(folder.join(format!("{:05}", self.written)), bytes)?;
        }
        Ok(())
    }

    fn hostile(&mut self, sent: &Sent) -> Result {
        match sent {
            Sent::Sql { sql, params, as_of, .. } => {
                let values = params.as_ref().or(as_of.as_ref()).map(|json| format!("\0{json}")).unwrap_or_default();
                self.add("statement", &[&sql.bytes()?[..], values.as_bytes()].concat())
            }
            Sent::Push(Push { push, content_type, encoding }) => {
                let target = match (encoding.as_deref(), content_type.as_str()) {
                    (Some("gzip"), _) => "gunzip",
                    (Some("zstd"), _) => "unzstd",
                    (_, "application/json") => "json",
                    (_, "application/x-ndjson") => "ndjson",
                    (_, "text/csv") => "csv",
                    (_, "application/vnd.apache.arrow.stream") => "arrow_stream",
                    (_, "application/vnd.apache.arrow.file") => "arrow_file",
                    (_, "application/vnd.apache.parquet") => "parquet",
                    _ => return Ok(()),
                };
                let bytes = push.bytes()?;
                if let Some(format) = ["json", "ndjson", "csv"].iter().position(|format| *format == target) {
                    self.add("infer", &[&[u8::try_from(format)?], &bytes[..]].concat())?;
                }
                self.add(target, &bytes)
            }
            // No target reads other requests.
            Sent::Call(_) => Ok(()),
        }
    }

    /// The statements between `query` and `----`.
    fn statements(&mut self) -> Result {
        let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../slt/cases");
        for file in std::fs::read_dir(cases)? {
            let text = std::fs::read_to_string(file?.path())?;
            for record in text.split("\n\n") {
                let Some((head, rest)) = record.split_once('\n') else { continue };
                if head.starts_with("query") {
                    self.add("statement", rest.split("\n----").next().unwrap_or_default().as_bytes())?;
                }
            }
        }
        Ok(())
    }

    fn text(&mut self) -> Result {
        let json = format!("[{}]", NDJSON.trim().lines().filter(|line| !line.is_empty()).collect::<Vec<_>>().join(","));
        self.add("ndjson", NDJSON.as_bytes())?;
        self.add("json", json.as_bytes())?;
        self.add("csv", CSV.as_bytes())?;
        self.add("infer", format!("\u{1}{WITHOUT_SCHEMA}").as_bytes())?;
        self.add("infer", format!("\u{2}{CSV_WITHOUT_SCHEMA}").as_bytes())?;
        // Any bytes make rows.
        self.add("answers", NDJSON.as_bytes())?;
        self.add("answers", CSV.repeat(8).as_bytes())
    }

    /// One of each message that Flight SQL sends, with every kind of field.
    fn commands(&mut self) -> Result {
        let (text, some) = ("lab".to_owned(), || Some("l%".to_owned()));
        let handle = bytes::Bytes::from_static(&[7; 48]);
        let messages = [
            sql::CommandStatementQuery { query: "SELECT 1".to_owned(), transaction_id: Some(handle.clone()) }.as_any(),
            sql::CommandStatementUpdate { query: "SELECT 1".to_owned(), transaction_id: None }.as_any(),
            sql::CommandPreparedStatementQuery { prepared_statement_handle: handle.clone() }.as_any(),
            sql::CommandPreparedStatementUpdate { prepared_statement_handle: handle.clone() }.as_any(),
            sql::TicketStatementQuery { statement_handle: handle.clone() }.as_any(),
            sql::ActionCreatePreparedStatementRequest { query: "SELECT $1".to_owned(), transaction_id: None }.as_any(),
            sql::ActionClosePreparedStatementRequest { prepared_statement_handle: handle.clone() }.as_any(),
            sql::ActionCancelQueryRequest { info: handle }.as_any(),
            sql::CommandGetCatalogs {}.as_any(),
            sql::CommandGetDbSchemas { catalog: some(), db_schema_filter_pattern: some() }.as_any(),
            sql::CommandGetTables {
                catalog: some(),
                db_schema_filter_pattern: some(),
                table_name_filter_pattern: some(),
                table_types: vec!["TABLE".to_owned()],
                include_schema: true,
            }
            .as_any(),
            sql::CommandGetSqlInfo { info: vec![0, 500] }.as_any(),
            sql::CommandGetXdbcTypeInfo { data_type: Some(-5) }.as_any(),
            sql::CommandGetPrimaryKeys { catalog: None, db_schema: some(), table: text.clone() }.as_any(),
            sql::CommandStatementIngest {
                table_definition_options: Some(sql::TableDefinitionOptions { if_not_exist: 1, if_exists: 2 }),
                table: text.clone(),
                schema: some(),
                catalog: None,
                temporary: true,
                transaction_id: None,
                options: [("lakegate.idempotency_key".to_owned(), text)].into(),
            }
            .as_any(),
        ];
        messages.iter().try_for_each(|message| self.add("flight", &message.encode_to_vec()))
    }

    fn columnar(&mut self) -> Result {
        let columns = |more: &[(&str, Kind)]| {
            let named = |(name, kind): &(&str, Kind)| ((*name).to_owned(), kind.clone());
            let always = [("id", Kind::Numbers), ("needed", Kind::Texts)];
            always.iter().chain(more).map(named).collect::<Vec<_>>()
        };
        let tables = [
            columns(&[]),
            columns(&[("name", Kind::Dictionary(5)), ("whole", Kind::Numbers), ("ratio", Kind::Numbers)]),
            columns(&[("name", Kind::Words(3)), ("price", Kind::Numbers), ("more", Kind::Nulls)]),
        ];
        for columns in tables {
            let table = Table { columns, rows: 7, codec: None, file: false, times: 2, delta: false };
            for codec in [None, Some("lz4"), Some("zstd")] {
                let table = Table { codec: codec.map(str::to_owned), ..table.clone() };
                self.add("arrow_stream", &table.arrow()?)?;
                self.add("arrow_file", &Table { file: true, ..table }.arrow()?)?;
            }
            for codec in [None, Some("snappy"), Some("zstd"), Some("gzip"), Some("brotli")] {
                let table = Table { codec: codec.map(str::to_owned), ..table.clone() };
                self.add("parquet", &table.parquet()?)?;
            }
        }
        let texts = vec![("needed".to_owned(), Kind::Texts), ("name".to_owned(), Kind::Words(9))];
        let texts = Table { columns: texts, rows: 7, codec: None, file: false, times: 1, delta: true };
        self.add("parquet", &texts.parquet()?)?;
        let runs = columns(&[("name", Kind::Run(5))]);
        let table = Table { columns: runs, rows: 7, codec: None, file: false, times: 1, delta: false };
        self.add("arrow_stream", &table.arrow()?)?;
        self.add("arrow_file", &Table { file: true, ..table }.arrow()?)
    }
}
