//! HTTP: reading requests, and writing answers.

pub mod event;
pub mod problem;
pub mod request;
pub mod response;
