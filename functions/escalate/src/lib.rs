//! Asks for second opinions and decides again.
