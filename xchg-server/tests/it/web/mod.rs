//! A web client that knows HTTP down to its bytes, and nothing more: it shows what a real one would
//! see.

use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::net::{Shutdown, SocketAddr, TcpStream};

use socket2::{Domain, Socket, Type};

use crate::common::Peer;

/// A connection to the server, over which requests go.
pub(crate) struct Client {
    peer: Peer,
    incoming: BufReader<TcpStream>,
    /// Bytes of a line break that are still to come.
    owed: usize,
}

/// A response's head.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// All of it, with its line ends.
    pub(crate) text: String,
}

impl Head {
    /// The value of the field called `name`, given in lower case.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let lines = self.text.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub(crate) fn is_last(&self) -> bool {
        self.field("connection") == Some("close")
    }
}

/// A request's head, up to and with its empty line. `fields` are lines with their ends.
pub(crate) fn head(start: &str, fields: &str) -> String {
    format!("{start} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n")
}

/// A whole upload of known length.
pub(crate) fn put(key: &str, payload: &[u8]) -> Vec<u8> {
    let head = head(&format!("PUT /{key}"), &format!("Content-Length: {}\r\n", payload.len()));
    [head.as_bytes(), payload].concat()
}

/// A whole upload in chunks of `size` bytes.
pub(crate) fn put_chunked(key: &str, payload: &[u8], size: usize) -> Vec<u8> {
    let mut bytes = head(&format!("PUT /{key}"), "Transfer-Encoding: chunked\r\n").into_bytes();
    for chunk in payload.chunks(size) {
        bytes.extend_from_slice(format!("{:X};x=y\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\nTrailer: dropped\r\n\r\n");
    bytes
}

/// A whole upload as a form with a text field before and after the file.
pub(crate) fn post_form(key: &str, payload: &[u8]) -> Vec<u8> {
    let mut body = b"--edge\r\nContent-Disposition: form-data; name=note\r\n\r\nnot this\r\n\
          --edge\r\nContent-Disposition: form-data; name=file; filename=\"a.bin\"\r\n\
          Content-Type: application/octet-stream\r\n\r\n"
        .to_vec();
    body.extend_from_slice(payload);
    body.extend_from_slice(
        b"\r\n--edge\r\nContent-Disposition: form-data; name=z\r\n\r\nnor this\r\n--edge--\r\n",
    );
    let fields = format!(
        "Content-Type: multipart/form-data; boundary=edge\r\nContent-Length: {}\r\n",
        body.len()
    );
    [head(&format!("POST /{key}"), &fields).as_bytes(), &body].concat()
}

/// A download.
pub(crate) fn get(key: &str) -> Vec<u8> {
    head(&format!("GET /{key}"), "").into_bytes()
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::of(Peer::connect(address))
    }

    pub(crate) fn of(peer: Peer) -> Self {
        let incoming = BufReader::new(peer.stream());
        Self { peer, incoming, owed: 0 }
    }

    /// A client whose receive buffer is small: the kernel doubles what it is told, and keeps half
    /// for itself.
    pub(crate) fn narrow(address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(8 << 10).unwrap();
        socket.connect(&address.into()).unwrap();
        Self::of(Peer::of(socket.into()))
    }

    /// A client that has sent `request`.
    pub(crate) fn saying(address: SocketAddr, request: &[u8]) -> Self {
        let mut client = Self::connect(address);
        client.send(request);
        client
    }

    /// An uploader that has sent `request`, and is told that it waits.
    pub(crate) fn waiting(address: SocketAddr, request: &[u8]) -> Self {
        let mut client = Self::saying(address, request);
        client.hears_of_waiting();
        client
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.peer.send(bytes);
    }

    /// Sends what the server takes: it may close before it has read it all.
    pub(crate) fn send_some(&mut self, bytes: &[u8]) {
        io::Write::write_all(&mut self.stream(), bytes).ok();
    }

    /// A second hold on the connection.
    pub(crate) fn stream(&self) -> TcpStream {
        self.peer.stream()
    }

    pub(crate) fn half_close(&self) {
        self.stream().shutdown(Shutdown::Write).unwrap();
    }

    /// Leaves so that the other end sees a reset.
    pub(crate) fn reset(self) {
        self.peer.reset();
    }

    /// The next head, be it of an interim response.
    pub(crate) fn any_head(&mut self) -> Head {
        let mut text = String::new();
        while !text.ends_with("\r\n\r\n") {
            let n = self.incoming.read_line(&mut text).expect("a head must come");
            assert!(n > 0, "closed within a head: {text:?}");
        }
        let status = text.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok());
        Head { status: status.unwrap_or_else(|| panic!("no status: {text:?}")), text }
    }

    /// The next head of a final response.
    pub(crate) fn head(&mut self) -> Head {
        loop {
            let head = self.any_head();
            if head.status >= 200 {
                return head;
            }
        }
    }

    /// The body behind `head`. An error if it ends before it should.
    pub(crate) fn body(&mut self, head: &Head) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        if let Some(length) = head.field("content-length") {
            let length: u64 = length.parse().unwrap();
            self.incoming.by_ref().take(length).read_to_end(&mut body)?;
            if body.len() as u64 != length {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        } else if head.field("transfer-encoding").is_some() {
            while let Some(chunk) = self.chunk()? {
                body.extend(chunk);
            }
        } else {
            self.incoming.read_to_end(&mut body)?;
        }
        Ok(body)
    }

    /// The next chunk; `None` is the last.
    pub(crate) fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        // The line break behind a chunk may come with the next one.
        self.incoming.read_exact(&mut [0; 2][..std::mem::take(&mut self.owed)])?;
        let mut line = String::new();
        self.incoming.read_line(&mut line)?;
        let Some(digits) = line.strip_suffix("\r\n") else {
            return Err(ErrorKind::UnexpectedEof.into());
        };
        let len = usize::from_str_radix(digits, 16).unwrap();
        let mut chunk = vec![0; len];
        self.incoming.read_exact(&mut chunk)?;
        if len > 0 {
            self.owed = 2;
            return Ok(Some(chunk));
        }
        self.incoming.read_exact(&mut [0; 2])?;
        Ok(None)
    }

    /// A whole response that is a text.
    pub(crate) fn text(&mut self) -> (Head, String) {
        let head = self.head();
        let body = self.body(&head).unwrap();
        (head, String::from_utf8(body).unwrap())
    }

    /// The text of a response with `status` that is cut: it says why something has failed.
    pub(crate) fn cut_text(&mut self, status: u16) -> String {
        let head = self.head();
        assert_eq!(head.status, status, "{}", head.text);
        let length: usize = head.field("content-length").unwrap().parse().unwrap();
        let text = self.rest().unwrap();
        assert!(text.len() < length, "{} of {length} bytes", text.len());
        String::from_utf8(text).unwrap()
    }

    /// A whole 200 and its payload.
    pub(crate) fn download(&mut self) -> Vec<u8> {
        let head = self.head();
        assert_eq!(head.status, 200, "{}", head.text);
        self.body(&head).unwrap()
    }

    /// Expects the 200 of an upload, and that it says `[INFO] Waiting`.
    pub(crate) fn hears_of_waiting(&mut self) {
        let head = self.head();
        assert_eq!(head.status, 200, "{}", head.text);
        self.hears("[INFO] Waiting for 1 receiver(s)...");
    }

    /// Expects `line` next in the answer to an upload.
    pub(crate) fn hears(&mut self, line: &str) {
        let chunk = self.chunk().unwrap().expect("the answer goes on");
        assert_eq!(String::from_utf8(chunk).unwrap(), format!("{line}\n"));
    }

    /// The lines of an upload's answer from here to its end, and whether the end is a proper one.
    pub(crate) fn lines(&mut self) -> (String, bool) {
        let mut lines = Vec::new();
        let whole = loop {
            match self.chunk() {
                Ok(Some(chunk)) => lines.extend(chunk),
                Ok(None) => break true,
                Err(_) => break false,
            }
        };
        (String::from_utf8(lines).unwrap(), whole)
    }

    /// Expects the good end of an upload's answer.
    pub(crate) fn is_received(&mut self) {
        let (lines, whole) = self.lines();
        let last = "[INFO] All receiver(s) was/were received successfully.\n";
        assert!(whole && lines.ends_with(last), "{whole}: {lines}");
        assert!(!lines.contains("[ERROR]"), "{lines}");
    }

    /// Expects the answer to a whole upload, from its head to its good end.
    pub(crate) fn uploaded(&mut self) {
        self.hears_of_waiting();
        self.is_received();
    }

    /// Expects the bad end of an upload's answer: an `[ERROR]` line with `words`, and that it is
    /// cut.
    pub(crate) fn has_failed(&mut self, words: &str) {
        let (lines, whole) = self.lines();
        assert!(!whole, "a failed upload's answer has a good end: {lines}");
        assert!(lines.contains("[ERROR] ") && lines.contains(words), "{lines}");
        assert!(!lines.contains("received successfully"), "{lines}");
    }

    /// Reads to the end of the connection.
    pub(crate) fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.incoming.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Expects that the connection ends without another byte.
    pub(crate) fn is_closed(&mut self) {
        match self.rest() {
            Ok(rest) => assert_eq!(String::from_utf8_lossy(&rest[self.owed.min(rest.len())..]), ""),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }
}
