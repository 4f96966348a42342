//! Bodies without a schema; the first byte says which format.
#![no_main]

use lakegate_fuzz::{inference, judge, remember_panics};

libfuzzer_sys::fuzz_target!(init: remember_panics(), |bytes: &[u8]| judge(|| inference(bytes)));
