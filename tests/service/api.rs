//! What callers see, one file per operation, and what holds for all of them.

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
