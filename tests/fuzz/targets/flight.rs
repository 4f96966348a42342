//! Commands, tickets and handles of Flight SQL.
#![no_main]

use lakegate_fuzz::{flight, judge, remember_panics};

libfuzzer_sys::fuzz_target!(init: remember_panics(), |bytes: &[u8]| judge(|| flight(bytes)));
