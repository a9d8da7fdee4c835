//! Input of any kind: nothing panics, and every answer is one of the contract.

mod events;
mod imports;
mod seeds;
