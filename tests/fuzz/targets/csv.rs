//! Bodies of pushes in this format.
#![no_main]

use lakegate_formats::Format;
use lakegate_fuzz::{body, judge, remember_panics};

libfuzzer_sys::fuzz_target!(init: remember_panics(), |bytes: &[u8]| judge(|| body(Format::Csv, bytes)));
