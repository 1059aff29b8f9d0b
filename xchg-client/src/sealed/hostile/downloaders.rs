//! Downloaders that lie, and what an honest uploader makes of it.

use std::fs;
use std::thread;

use tempfile::tempdir;

use super::super::testing::{Puppet, play, streams};
use super::{Script, have, is_protocol};
use crate::Cancel;
use crate::files::{Outgoing, WalkOptions};
use crate::session::Error;
use crate::session::message::{Message, encode_proof};

/// Runs an honest uploader of a directory with a file of five bytes against what `script` says.
fn upload_to(script: &Script) -> Error {
    let from = tempdir().unwrap();
    fs::create_dir(from.path().join("d")).unwrap();
    fs::write(from.path().join("d/a"), "hello").unwrap();
    let mut outgoing = Outgoing::collect(&[from.path().join("d")], WalkOptions::default()).unwrap();
    let (upload, download) = streams();
    let cancel = Cancel::new().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            play(download, |link| {
                assert!(matches!(link.next()?, Some(Message::Offer { .. })));
                assert!(matches!(link.next()?, Some(Message::Entries(_))));
                script(link)
            });
        });
        super::super::upload(upload, &mut outgoing, &mut (), &cancel)
            .expect_err("a liar's receipt is worth nothing")
    })
}

fn ask(link: &mut Puppet, points: &[(u32, u64)]) -> Result<(), Error> {
    link.put(&Message::Have(&have(points)))?;
    link.put(&Message::Prove)
}

/// Asks for the proof of the whole file, and passes over what went with the offer until it comes.
fn get_proof(link: &mut Puppet) -> Result<(), Error> {
    ask(link, &[(1, 5)])?;
    link.flush()?;
    loop {
        match link.next()? {
            Some(Message::Proof(bytes)) => {
                let mut expected = Vec::new();
                encode_proof(1, &blake3::hash(b"hello"), &mut expected);
                assert_eq!(bytes, expected);
                return Ok(());
            }
            Some(Message::Begin { .. } | Message::Data(_) | Message::End { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn answers_that_lie_are_refused() {
    let receipt = |entries, bytes| Message::Receipt { entries, bytes };
    let after_content: fn(&mut Puppet) -> Result<(), Error> = |link| {
        link.put(&Message::Accept)?;
        link.flush()?;
        while link.next()?.is_some() {}
        Ok(())
    };
    let cases: Vec<(&str, Box<Script>)> = vec![
        ("having a directory", Box::new(|link| ask(link, &[(0, 0)]))),
        ("having nothing", Box::new(|link| ask(link, &[(2, 0)]))),
        ("beyond the size", Box::new(|link| ask(link, &[(1, 6)]))),
        ("twice", Box::new(|link| ask(link, &[(1, 1), (1, 2)]))),
        ("half a point", Box::new(|link| link.put(&Message::Have(b"half")))),
        ("asking for no proof", Box::new(|link| link.put(&Message::Prove))),
        (
            "accepting before the proof",
            Box::new(|link| {
                link.put(&Message::Have(&have(&[(1, 5)])))?;
                link.put(&Message::Accept)
            }),
        ),
        ("resuming unasked", Box::new(|link| link.put(&Message::Resume(&[0, 0, 0, 1])))),
        (
            "resuming something else",
            Box::new(|link| {
                get_proof(link)?;
                link.put(&Message::Resume(&[0, 0, 0, 0]))
            }),
        ),
        (
            "resuming twice",
            Box::new(|link| {
                get_proof(link)?;
                link.put(&Message::Resume(&[0, 0, 0, 1, 0, 0, 0, 1]))
            }),
        ),
        (
            "asking again",
            Box::new(|link| {
                get_proof(link)?;
                ask(link, &[(1, 5)])
            }),
        ),
        ("a receipt for the offer", Box::new(move |link| link.put(&receipt(2, 5)))),
        ("no answer", Box::new(|link| link.finish())),
        (
            "no receipt",
            Box::new(move |link| {
                after_content(link)?;
                link.finish()
            }),
        ),
        (
            "a receipt for fewer",
            Box::new(move |link| {
                after_content(link)?;
                link.put(&receipt(1, 5))?;
                link.finish()
            }),
        ),
        (
            "a receipt for less",
            Box::new(move |link| {
                after_content(link)?;
                link.put(&receipt(2, 4))?;
                link.finish()
            }),
        ),
        (
            "two receipts",
            Box::new(move |link| {
                after_content(link)?;
                link.put(&receipt(2, 5))?;
                link.put(&receipt(2, 5))?;
                link.finish()
            }),
        ),
        (
            "data",
            Box::new(move |link| {
                link.put(&Message::Accept)?;
                link.put(&Message::Data(b"back at you"))
            }),
        ),
    ];
    for (case, script) in cases {
        let error = upload_to(&*script);
        assert!(is_protocol(&error), "{case}: {error}");
    }
}
