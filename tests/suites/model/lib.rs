//! The commit protocol under a model checker: every order in which two callers, a sweep, the clock and the
//! database can take their steps is tried, with every crash, loss, repetition and delay, and each state thus
//! reached is held against the promise. A caller asks to cancel or to withdraw what is pending. A test of the
//! running service meets the few orders that happen to occur; this one leaves none out, within its bounds.
//!
//! The protocol is in [`commit`]. `Begin` to `WriteAndHear` are the life of one handler:
//! the two items of its BatchGetItem as two readings, the decision, then the TransactWriteItems or PutItem
//! with its conditions. `WriteUnheard` is such a request carried out with no one to hear of it,
//! `WriteRecognised` a repeated transaction that the database knows by its ClientRequestToken, `DeleteRecord`
//! the TTL deletion and `Sweep` the conditional UpdateItem of the sweeper. The index of what is due is not
//! stored apart: it is the pending cancellation itself. [`two_phase`] is the usual rival, for comparison.
//!
//! Of what makes a request wrong, only the time is there: a date that has begun. HTTP and formats are left out; so are a second subscription, as no step touches two, and a
//! second clock, as there is one for all. A throttled request or a transaction conflict is a lost write
//! here, and a 503 or a "locked" is no answer, for the caller acts alike on all of them. The bounds are two
//! callers with two attempts each, two decisions in an attempt, a cancellation that may be pending before they
//! begin, and three ticks of the clock. A tick is as long as a function may live, and a key lives for two; in
//! reality it lives for thousands.

pub mod commit;
pub mod two_phase;
