//! Writes what the gateway answers into the cases, so that a deliberate change of behaviour is a diff to
//! read and not a file to type: `cargo run -p lakegate-slt --example update [NAME]`.

use lakegate_e2e::Result;
use lakegate_slt::{Way, cases, gateway, runner};
use sqllogictest::{default_normalizer, default_validator, strict_column_validator};

#[tokio::main]
async fn main() -> Result {
    let wanted = std::env::args().nth(1);
    let gateway = gateway().await?;
    for entry in std::fs::read_dir(cases())? {
        let file = entry?.path();
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if wanted.as_ref().is_none_or(|wanted| *wanted == name) {
            let updated = runner(&gateway, Way::Rest)
                .await?
                .update_test_file(&file, " ", default_validator, default_normalizer, strict_column_validator)
                .await;
            updated.map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}
