//! Rows, written in every format and read back.
#![no_main]

use lakegate_fuzz::{answers, judge, remember_panics};

libfuzzer_sys::fuzz_target!(init: remember_panics(), |bytes: &[u8]| judge(|| answers(bytes)));
