//! Bad input gets a clear error, and nothing is lost. The cases are in `hostile/*.yaml`.

use lakegate_e2e::hostile::{Corpus, prepare, run};
use lakegate_e2e::{Options, Result};

const SQL: &str = "sql.yaml";
const BODIES: &str = "bodies.yaml";
const COLUMNAR: &str = "columnar.yaml";
const REQUESTS: &str = "requests.yaml";

/// Every class that must have cases, and the file they are in.
const CLASSES: &[(&str, &str)] = &[
    ("host_access", SQL),
    ("url_access", SQL),
    ("statements", SQL),
    ("nesting", SQL),
    ("many_terms", SQL),
    ("in_lists", SQL),
    ("nested_calls", SQL),
    ("recursive_cte", SQL),
    ("value_bombs", SQL),
    ("cross_joins", SQL),
    ("casts", SQL),
    ("versions", SQL),
    ("dropped_words", SQL),
    ("shows", SQL),
    ("parameters", SQL),
    ("truncated", BODIES),
    ("wrong_type_late", BODIES),
    ("invalid_utf8", BODIES),
    ("byte_order_mark", BODIES),
    ("columns", BODIES),
    ("number_range", BODIES),
    ("gzip_bomb", BODIES),
    ("empty", BODIES),
    ("content_type", BODIES),
    ("arrow_damage", COLUMNAR),
    ("arrow_lengths", COLUMNAR),
    ("arrow_bomb", COLUMNAR),
    ("arrow_columns", COLUMNAR),
    ("parquet_damage", COLUMNAR),
    ("parquet_lengths", COLUMNAR),
    ("parquet_bomb", COLUMNAR),
    ("parquet_columns", COLUMNAR),
    ("zstd_bomb", COLUMNAR),
    ("said_twice", REQUESTS),
    ("charsets", REQUESTS),
    ("wrong_words", REQUESTS),
];

#[test]
fn every_class_has_six_cases_that_differ_in_more_than_literals() -> Result {
    for (class, file) in CLASSES {
        let distinct = Corpus::read(file)?.distinct(class);
        assert!(distinct >= 6, "{class} has {distinct}");
    }
    let listed: std::collections::BTreeSet<_> = CLASSES.iter().map(|(class, _)| (*class).to_owned()).collect();
    for file in [SQL, BODIES, COLUMNAR, REQUESTS] {
        for class in Corpus::read(file)?.classes() {
            assert!(listed.contains(class), "{class} of {file} is run by no test");
        }
    }
    Ok(())
}

#[test]
fn the_statements_are_many() -> Result {
    let corpus = Corpus::read(SQL)?;
    let distinct: usize = corpus.classes().into_iter().map(|class| corpus.distinct(class)).sum();
    assert!(distinct >= 120, "{distinct}");
    Ok(())
}

async fn class(name: &str) -> Result {
    let (_, file) = CLASSES.iter().find(|(class, _)| *class == name).ok_or("no such class")?;
    let corpus = Corpus::read(file)?;
    // Small budgets, so that the ceilings show whether they hold.
    let options = Options::demo()?.setting("query.memory", "256MiB").setting("query.memory_per_query", "128MiB");
    // Values are made per thread: as many as the ceilings were found with, whatever the machine has.
    let options = options.setting("query.threads", "2");
    let mut gateway = options.start().await?;
    prepare(&gateway).await?;
    let wrong = run(&mut gateway, &corpus, name).await?;
    assert!(wrong.is_empty(), "{} answered wrongly:\n{}", wrong.len(), wrong.join("\n"));
    let output = gateway.output();
    assert!(!output.contains("panicked"), "{output}");
    Ok(())
}

/// One test per class, so that they are named and run apart.
macro_rules! classes {
    ($($name:ident)*) => {$(
        #[tokio::test]
        async fn $name() -> Result {
            class(stringify!($name)).await
        }
    )*};
}

classes! {
    host_access url_access statements nesting many_terms in_lists nested_calls recursive_cte value_bombs cross_joins casts
    versions dropped_words shows parameters
    truncated wrong_type_late invalid_utf8 byte_order_mark columns number_range gzip_bomb empty content_type
    arrow_damage arrow_lengths arrow_bomb arrow_columns
    parquet_damage parquet_lengths parquet_bomb parquet_columns zstd_bomb
    said_twice charsets wrong_words
}
