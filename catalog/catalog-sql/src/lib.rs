//! Lakegate.
