//! Every change that callers can see is published, and nothing else.

mod delivery;
mod function;
