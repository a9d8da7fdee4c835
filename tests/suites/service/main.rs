//! The rules of the service, tested over HTTP or through the functions' own handlers, on a real DynamoDB API.

mod api;
mod bad_input;
mod binaries;
mod clients;
mod execution;
mod faults;
mod idempotency;
mod openapi;
mod publishing;
mod stored;
mod template;
mod webhooks;
