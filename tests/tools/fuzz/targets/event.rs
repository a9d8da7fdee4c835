#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|event: &str| {
    harness::fuzz::event(event);
});
