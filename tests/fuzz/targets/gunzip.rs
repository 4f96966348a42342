//! Bodies packed with gzip.
#![no_main]

use lakegate_fuzz::{gunzip, judge, remember_panics};

libfuzzer_sys::fuzz_target!(init: remember_panics(), |bytes: &[u8]| judge(|| gunzip(bytes)));
