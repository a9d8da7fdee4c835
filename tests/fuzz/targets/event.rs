//! An event of API Gateway, as JSON, gets an answer of the contract.

#![no_main]

use std::sync::LazyLock;

use harness::Service;
use harness::contract::Functions;
use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};

/// One service for all events: what one leaves behind, the next one meets.
static RUNNING: LazyLock<(Runtime, Service, Functions)> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let service = runtime.block_on(Service::start());
    let functions = Functions::on(&service);
    (runtime, service, functions)
});

fuzz_target!(|event: &str| {
    let (runtime, _, functions) = &*RUNNING;
    runtime.block_on(functions.answer(event));
});
