//! What the fuzz targets run, for any bytes; see `fuzz/`. The tests run the same over its seeds.

pub use crate::files::fuzzing::names;
pub use crate::session::fuzzing::{messages, records};

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn replay(target: &str, body: fn(&[u8])) {
        let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
        let mut count = 0;
        for seed in fs::read_dir(seeds).unwrap() {
            body(&fs::read(seed.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count > 0, "no seeds of {target}");
    }

    #[test]
    fn messages_of_the_seeds() {
        replay("messages", messages);
    }

    #[test]
    fn records_of_the_seeds() {
        replay("records", records);
    }

    #[test]
    fn names_of_the_seeds() {
        replay("names", names);
    }
}
