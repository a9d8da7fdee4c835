//! How the service is spoken over HTTP: what is read from a request, and what is answered.

pub mod event;
pub mod problem;
pub mod request;
pub mod response;
