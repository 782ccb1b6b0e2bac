//! Faults that tests plant, to see that they are caught. Nothing can be planted in what ships: the feature
//! `planted-faults` is switched on by the dev-dependencies of tests alone, and without it [`planted`] is `false` when it
//! is compiled.

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
