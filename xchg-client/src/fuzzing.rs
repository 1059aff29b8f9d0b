//! What the fuzz targets run, for any bytes; see `fuzz/`. The tests run the same over its seeds.

pub use crate::files::fuzzing::names;
pub use crate::session::fuzzing::{hellos, messages, records, roles};

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
    fn hellos_of_the_seeds() {
        replay("hellos", hellos);
    }

    #[test]
    fn roles_of_the_seeds() {
        replay("roles", roles);
    }

    /// The seeds say what makes sense; this is the nonsense next to it.
    #[test]
    fn roles_of_the_seeds_with_any_byte_altered_or_left_out() {
        replay("roles", |seed| {
            for place in 0..seed.len() {
                for mask in [0x01, 0x10, 0x80] {
                    let mut altered = seed.to_vec();
                    altered[place] ^= mask;
                    roles(&altered);
                }
                roles(&[&seed[..place], &seed[place + 1..]].concat());
            }
        });
    }

    #[test]
    fn names_of_the_seeds() {
        replay("names", names);
    }
}
