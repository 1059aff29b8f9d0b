//! xchg
