//! Faults that tests plant, to see that they are caught. Nothing can be planted in what ships (`PROFILE=ship`, compiled
//! by itself): without the feature `planted-faults` [`planted`] is `false` when it is compiled. The feature comes from the
//! dev-dependencies of tests, so a local build made together with them has the switch, off, and nothing that turns it.

#[cfg(feature = "planted-faults")]
thread_local! {
    static PLANTED: std::cell::Cell<&'static str> = const { std::cell::Cell::new("") };
}

/// Plants the fault of this name on this thread, instead of the one there is; the empty name plants none.
#[cfg(feature = "planted-faults")]
pub fn plant(name: &'static str) {
    PLANTED.set(name);
}

/// Whether the fault of this name is planted on this thread.
#[cfg(feature = "planted-faults")]
#[must_use]
pub fn planted(name: &'static str) -> bool {
    PLANTED.get() == name
}

/// Whether the fault of this name is planted: never.
#[cfg(not(feature = "planted-faults"))]
#[must_use]
pub const fn planted(_name: &'static str) -> bool {
    false
}
