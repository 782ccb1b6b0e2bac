//! Second opinions: what is asked, what is answered, and who answers. The function `escalate` and the inference program of the
//! endpoint both stand on this crate, so that they agree on the words between them and give the same answer wherever it is worked out.
//!
//! A [`Question`] is the content of one post. A [`Panel`] answers it with a larger text model (a [`Reader`]) and with eyes for its images
//! ([`images::Eyes`]). Nothing in here fetches, waits or decides.

pub mod ensemble;
pub mod foreign;
pub mod images;
pub mod panel;
// The same few lines as in `runtime`, which `opinion` must not stand on.
#[path = "../../runtime/src/planted.rs"]
pub mod planted;
pub mod protocol;
pub mod reader;

pub use ensemble::{Ensemble, NotACascade};
pub use foreign::Foreign;
pub use images::{Eyes, ImageError, Line, Seen};
pub use panel::Panel;
pub use protocol::{Answer, Question};
pub use reader::{Reader, ReaderError, TextOpinion};
