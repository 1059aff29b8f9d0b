//! stub
/// stub
pub struct Memory;
/// stub
pub fn memory() {}
