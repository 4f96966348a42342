//! Bodies packed with zstd.
#![no_main]

use lakegate_fuzz::{judge, remember_panics, unzstd};

libfuzzer_sys::fuzz_target!(init: remember_panics(), |bytes: &[u8]| judge(|| unzstd(bytes)));
