//! Certificates that change while they are used.

use std::sync::Arc;
use std::time::SystemTime;

use super::super::Store;
use super::{Folder, params_for};

#[test]
fn what_changes_is_taken_and_what_is_broken_never() {
    let folder = Folder::new();
    let store = Store::open(folder.files()).unwrap();
    let look = || store.look(SystemTime::now());
    let first = store.config();
    look();
    assert!(Arc::ptr_eq(&first, &store.config()), "nothing has changed");

    folder.renew(params_for("localhost"));
    look();
    let second = store.config();
    assert!(!Arc::ptr_eq(&first, &second));
    assert_eq!((store.reloads(), store.failures()), (1, 0));

    // A renewal that is seen half done is no failure, unless it stays so.
    let (certificate, key) = folder.certificate(params_for("localhost"));
    folder.write("cert.pem", &certificate);
    look();
    assert_eq!((store.reloads(), store.failures()), (1, 0));
    assert!(!store.is_outdated());
    folder.write("key.pem", &key);
    look();
    assert_eq!((store.reloads(), store.failures()), (2, 0));

    let third = store.config();
    for broken in ["", "nonsense", &certificate[..200]] {
        let failures = store.failures();
        folder.write("cert.pem", broken);
        (0..5).for_each(|_| look());
        assert!(Arc::ptr_eq(&third, &store.config()), "{broken:?}");
        assert_eq!(store.failures(), failures + 1, "each is told once");
        assert!(store.is_outdated());
    }
    std::fs::remove_file(folder.path("cert.pem")).unwrap();
    (0..5).for_each(|_| look());
    assert!(Arc::ptr_eq(&third, &store.config()));
    assert_eq!((store.reloads(), store.failures()), (2, 4));
    folder.renew(params_for("localhost"));
    look();
    assert_eq!((store.reloads(), store.failures()), (3, 4));
    assert!(!store.is_outdated());
}

#[test]
fn links_that_are_swapped_are_followed() {
    let folder = Folder::new();
    let link = |name: &str, to: &str| {
        let path = folder.path(name);
        std::os::unix::fs::symlink(to, folder.path("new")).unwrap();
        std::fs::rename(folder.path("new"), path).unwrap();
    };
    let renew = |number: u32| {
        let (certificate, key) = folder.certificate(params_for("localhost"));
        folder.write(&format!("fullchain{number}.pem"), &certificate);
        folder.write(&format!("privkey{number}.pem"), &key);
        link("cert.pem", &format!("fullchain{number}.pem"));
        link("key.pem", &format!("privkey{number}.pem"));
    };
    renew(1);
    let store = Store::open(folder.files()).unwrap();
    let first = store.config();
    renew(2);
    store.look(SystemTime::now());
    assert!(!Arc::ptr_eq(&first, &store.config()));
    assert_eq!((store.reloads(), store.failures()), (1, 0));
}
