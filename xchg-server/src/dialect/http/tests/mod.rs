//! Tests of the dialect through its public face: requests in, actions and responses out.

mod bodies;
mod heads;
mod responses;

use super::fields::FieldValue;
use super::*;

/// The request in `input`, which has to be a whole head.
fn request(input: &[u8]) -> Request {
    match parse(input) {
        Head::Request { len, request } => {
            assert_eq!(len, input.len());
            *request
        }
        other => panic!("{} gives {other:?}", input.escape_ascii()),
    }
}

fn action(input: &str) -> Action {
    request(input.as_bytes()).action()
}

/// The text of the reply to `input`, which nothing is exchanged for.
fn reply(input: &str) -> String {
    match action(input) {
        Action::Reply { bytes, .. } => text(&bytes),
        other => panic!("{input} gives {other:?}"),
    }
}

fn upload(input: &str) -> Upload {
    match action(input) {
        Action::Upload(upload) => upload,
        other => panic!("{input} gives {other:?}"),
    }
}

fn download(input: &str) -> Download {
    match action(input) {
        Action::Download(download) => download,
        other => panic!("{input} gives {other:?}"),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A response's header: lower-case names and values.
type Fields = Vec<(String, Vec<u8>)>;

/// A response taken apart by `httparse`: its status, its header, its body.
fn taken_apart(response: &[u8]) -> (u16, Fields, Vec<u8>) {
    let mut headers = [httparse::EMPTY_HEADER; 200];
    let mut parsed = httparse::Response::new(&mut headers);
    let Ok(httparse::Status::Complete(len)) = parsed.parse(response) else {
        panic!("no response: {}", response.escape_ascii());
    };
    let fields = parsed
        .headers
        .iter()
        .map(|field| (field.name.to_ascii_lowercase(), field.value.to_vec()))
        .collect();
    (parsed.code.unwrap_or_default(), fields, response[len..].to_vec())
}
