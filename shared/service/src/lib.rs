//! What the functions that decide posts have in common: which model and policy decide, how much time is left, content from allowed
//! buckets, sending what is owed, quarantine, and what things cost. It knows no order of steps: that is each function's own.

mod breaker;
pub mod content;
pub mod deadlines;
pub mod erasure;
pub mod inbox;
pub mod live;
mod named;
pub mod outbox;
pub mod prices;
pub mod quarantine;

pub use breaker::{Breaker, Permit};
pub use content::{Content, Trouble};
pub use deadlines::Deadlines;
pub use erasure::{Eraser, Subject};
pub use inbox::{Inbox, Outcome, Unavailable};
pub use live::{Live, Setting};
pub use named::named;
pub use outbox::Outbox;
mod weight;
pub use weight::fit;
