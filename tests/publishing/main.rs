//! Every change that callers can see is told, and nothing else is.

mod delivery;
mod function;
