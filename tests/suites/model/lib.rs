//! The commit protocol under a model checker. It tries every order in which two callers, a sweep, the clock and the database
//! can take their steps, with every crash, loss, repetition and delay. In each state that is reached, it checks the promises. A
//! caller asks to cancel, or to withdraw the pending cancellation. A test of the running service meets the few orders that
//! happen to occur. The model leaves none out, within its bounds.
//!
//! The protocol is in [`commit`]. `Begin` to `WriteAndHear` are the life of one handler: the two items of its BatchGetItem as
//! two reads, the decision, then the TransactWriteItems or PutItem with its conditions. `WriteUnheard` is such a request that
//! is carried out although nobody receives the reply. `WriteRecognised` is a repeated transaction that the database knows by
//! its ClientRequestToken. `DeleteRecord` is the TTL deletion, and `Sweep` the conditional UpdateItem of a sweep, which
//! relies for a while on a `Look` at the tenant. The due index
//! is not stored separately: it is the pending cancellation itself. [`two_phase`] is the usual protocol with a lock, for
//! comparison.
//!
//! The only invalid request in the model is one for a date that has begun. HTTP and formats are left out. So is a second
//! subscription, because no step touches two, and a second clock, because one clock serves all. A throttled request or a
//! transaction conflict is a lost write here. A 503 or a "locked" is no answer, because the caller acts alike on all of them.
//! The bounds are two callers with two attempts each, two decisions in an attempt, a cancellation that may be pending before
//! they begin, and three ticks of the clock. A function may live for one tick, and a key lives for two. In reality, a key lives
//! for thousands.

pub mod commit;
pub mod two_phase;
