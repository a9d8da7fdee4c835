//! The API as callers see it: one file per operation, and the rules that hold for all of them.

mod api_keys;
mod cancel_subscription;
mod disclosure;
mod events;
mod gateway;
mod get_subscription;
mod problems;
mod round_trips;
mod tenants;
mod withdraw_cancellation;
