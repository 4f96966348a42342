//! Statements with their parameters, and versions of requests.
#![no_main]

use lakegate_fuzz::{judge, remember_panics, statement};

libfuzzer_sys::fuzz_target!(init: remember_panics(), |bytes: &[u8]| judge(|| statement(bytes)));
