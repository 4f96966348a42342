//! Bodies of pushes in Parquet.
#![no_main]

use lakegate_fuzz::{judge, parquet, remember_panics};

libfuzzer_sys::fuzz_target!(init: remember_panics(), |bytes: &[u8]| judge(|| parquet(bytes)));
