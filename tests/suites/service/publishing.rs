//! Every change that callers can see is published, and nothing else is.

mod delivery;
mod function;
