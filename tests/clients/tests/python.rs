//! The clients of others, one file of `python/` each.

use std::collections::BTreeSet;

use lakegate_clients::{Environment, programs, pytest};
use lakegate_e2e::{Gateway, Result};

macro_rules! files {
    ($($name:ident in $environment:ident),* $(,)?) => {
        /// `tls` has a test of its own: it needs a gateway with a certificate.
        const FILES: &[&str] = &[$(stringify!($name),)* "test_tls"];
        $(
            #[tokio::test]
            async fn $name() -> Result {
                let mut gateway = Gateway::demo().await?;
                pytest(&gateway, Environment::$environment, concat!(stringify!($name), ".py"), &[]).await?;
                gateway.alive()
            }
        )*
    };
}

files! {
    test_adbc in Adbc,
    test_frames in Adbc,
    test_pyarrow in Adbc,
    test_reflection in Adbc,
    test_sqlalchemy in Sqlalchemy,
}

#[test]
fn every_file_is_run() -> Result {
    let mut there = BTreeSet::new();
    for entry in std::fs::read_dir(programs())? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if let Some(name) = name.strip_suffix(".py").filter(|name| name.starts_with("test_")) {
            there.insert(name.to_owned());
        }
    }
    assert_eq!(there, FILES.iter().map(|name| (*name).to_owned()).collect());
    Ok(())
}
