//! The real binary, from outside. One file per thing that a client can ask for; [`lakegate_e2e`] is how.

#[cfg(test)]
mod hostile;
