//! Input of any kind: nothing panics, and every answer is within the contract.

mod events;
mod imports;
mod seeds;
