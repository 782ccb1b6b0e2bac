//! What the functions that decide posts have in common.
