//! Files in memory without a copy: the one place of this workspace with `unsafe`.
//!
//! A mapped file must not change while it is mapped: what was verified would no longer be what is read, and a file cut short
//! ends the process. Models are never changed in place: what is deployed is read-only on Lambda, and what is downloaded is
//! written beside and renamed (`registry`).
#![allow(
    unsafe_code,
    reason = "a map of a file cannot be had otherwise; 18 MB that are neither read nor copied at each start"
)]

use std::fs::File;
use std::io;
use std::path::Path;

use memmap2::{Mmap, UncheckedAdvice};

/// A file, mapped for reading.
pub(crate) struct Map(Mmap);

impl Map {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        // SAFETY: nobody changes or cuts the file, as said above.
        unsafe { Mmap::map(&file) }.map(Self)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Gives the pages back; whoever reads on takes them from the file again.
    pub(crate) fn release(&self) {
        // SAFETY: the map is shared and read-only, so its pages come back as they were. Where this fails, they stay.
        let _ = unsafe { self.0.unchecked_advise(UncheckedAdvice::DontNeed) };
    }
}
