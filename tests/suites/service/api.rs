//! The API as callers see it: one file for each operation, and one for each rule that all operations share.

mod api_keys;
mod cancel_subscription;
mod disclosure;
mod events;
mod find_subscriptions;
mod gateway;
mod get_cancellation;
mod get_history;
mod get_subscription;
mod preview_cancellation;
mod problems;
mod round_trips;
mod tenants;
mod withdraw_cancellation;
