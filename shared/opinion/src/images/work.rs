//! How much one picture may cost. Counted, not timed, so that the same picture is looked at alike on any machine.

/// Work of all that is done to one picture, in units of about a thousandth of a second of the processor that it was measured on.
pub const MAX_WORK: u32 = 4_800;
/// A run of the model that finds text, of 960 by 960 pixels.
pub const DETECTION: u32 = 180;
/// A run of the model of nudity.
pub const NUDITY: u32 = 20;
/// A line: a run of the model of angles, and what the text model takes for it; besides, so many units for a thousand of its columns.
pub const LINE: u32 = 6;
/// See [`LINE`].
pub const THOUSAND_COLUMNS: u32 = 36;
/// Putting together a million pixels of an animation, and telling whether they differ.
pub const MILLION_COMPOSED: u32 = 8;

/// What is left of it.
#[derive(Debug, Clone, Copy)]
pub struct Work(u32);

impl Default for Work {
    fn default() -> Self {
        Self(MAX_WORK)
    }
}

impl Work {
    /// Takes this much, or nothing where there is not as much left.
    pub fn take(&mut self, units: u32) -> bool {
        let left = self.0.checked_sub(units);
        self.0 = left.unwrap_or(self.0);
        left.is_some()
    }
}
