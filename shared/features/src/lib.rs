//! Features: what models and rules look at, computed by the same code when serving and when training (law 6).
//!
//! [`text`] turns content into the numbers a text model reads; [`views`] defines what is known about authors and
//! posts; [`signals`] finds the words, phrases, patterns and images that an operator has listed. Everything here is pure: no I/O, no clock, no randomness.

pub mod signals;
pub mod text;
pub mod views;
