//! Every file of `cases/`, each as a test of its own, by both protocols.

use std::collections::BTreeSet;

use lakegate_e2e::Result;
use lakegate_slt::{Way, cases, gateway, runner};

macro_rules! files {
    ($($name:ident)*) => {
        const FILES: &[&str] = &[$(stringify!($name)),*];
        $(
            #[tokio::test]
            async fn $name() -> Result {
                let gateway = gateway().await?;
                for way in [Way::Rest, Way::Flight] {
                    let file = cases().join(concat!(stringify!($name), ".slt"));
                    let run = runner(&gateway, way).await?.run_file_async(file).await;
                    run.map_err(|error| format!("{way:?}: {}", error.display(false)))?;
                }
                Ok(())
            }
        )*
    };
}

files! {
    aggregates errors explain expressions information_schema joins json select show subqueries types versions windows
}

#[test]
fn every_file_is_run() -> Result {
    let mut there = BTreeSet::new();
    for entry in std::fs::read_dir(cases())? {
        there.extend(entry?.path().file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    }
    assert_eq!(there, FILES.iter().map(|name| (*name).to_owned()).collect());
    Ok(())
}
