//! The binary `connect`: the service on one machine, its pages, and the operator's commands.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that meets what it does not expect should panic"
)]

mod help;
mod operate;
mod pages;
mod up;
