//! Downloaders that lie, and what an honest uploader makes of it.

use std::fs;
use std::thread;

use tempfile::tempdir;

use super::super::testing::{Puppet, play, streams};
use super::{have, is_protocol, say_all};
use crate::Cancel;
use crate::files::{Outgoing, WalkOptions};
use crate::session::Error;
use crate::session::message::{Message, encode_proof};

/// When a downloader begins to lie.
#[derive(Clone, Copy)]
enum After {
    Offer,
    /// The proof for the whole file, which it asked for.
    Proof,
    /// The downloader has accepted, and has got all content.
    Content,
}

/// Runs an honest uploader of a directory with a file of five bytes against what is said.
fn upload_to(after: After, said: &[Message<'_>]) -> Error {
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
                match after {
                    After::Offer => {}
                    After::Proof => get_proof(link)?,
                    After::Content => {
                        link.put(&Message::Accept)?;
                        link.flush()?;
                        while link.next()?.is_some() {}
                    }
                }
                say_all(link, said)
            });
        });
        super::super::upload(upload, &mut outgoing, &mut (), &cancel)
            .expect_err("a liar's receipt is worth nothing")
    })
}

/// Asks for the proof of the whole file, and passes over what went with the offer until it comes.
fn get_proof(link: &mut Puppet) -> Result<(), Error> {
    link.put(&Message::Have(&have(&[(1, 5)])))?;
    link.put(&Message::Prove)?;
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
    use Message::{Accept, Data, Have, Prove, Resume};
    let receipt = |entries, bytes| Message::Receipt { entries, bytes };
    let (directory, nothing, beyond) = (have(&[(0, 0)]), have(&[(2, 0)]), have(&[(1, 6)]));
    let (whole, twice) = (have(&[(1, 5)]), have(&[(1, 1), (1, 2)]));
    let cases: [(&str, After, &[Message<'_>]); 18] = [
        ("having a directory", After::Offer, &[Have(&directory), Prove]),
        ("having nothing", After::Offer, &[Have(&nothing), Prove]),
        ("beyond the size", After::Offer, &[Have(&beyond), Prove]),
        ("twice", After::Offer, &[Have(&twice), Prove]),
        ("half a point", After::Offer, &[Have(b"half")]),
        ("asking for no proof", After::Offer, &[Prove]),
        ("accepting before the proof", After::Offer, &[Have(&whole), Accept]),
        ("resuming unasked", After::Offer, &[Resume(&[0, 0, 0, 1])]),
        ("resuming something else", After::Proof, &[Resume(&[0, 0, 0, 0])]),
        ("resuming twice", After::Proof, &[Resume(&[0, 0, 0, 1, 0, 0, 0, 1])]),
        ("asking again", After::Proof, &[Have(&whole), Prove]),
        ("a receipt for the offer", After::Offer, &[receipt(2, 5)]),
        ("no answer", After::Offer, &[]),
        ("no receipt", After::Content, &[]),
        ("a receipt for fewer", After::Content, &[receipt(1, 5)]),
        ("a receipt for less", After::Content, &[receipt(2, 4)]),
        ("two receipts", After::Content, &[receipt(2, 5), receipt(2, 5)]),
        ("data", After::Offer, &[Accept, Data(b"back at you")]),
    ];
    for (case, after, said) in cases {
        let error = upload_to(after, said);
        assert!(is_protocol(&error), "{case}: {error}");
    }
}
