//! The house rules that no compiler checks; see `tests/tidy.rs`.
