//! The real server, in this process.

use std::path::Path;

use xchg_server::{Config, Server, ServerHandle};

use crate::support::Client;

/// A running server and its address. It ends with the test.
pub(crate) struct Rendezvous {
    pub(crate) handle: ServerHandle,
    pub(crate) address: String,
}

impl Rendezvous {
    pub(crate) fn start() -> Self {
        Self::on("127.0.0.1:0")
    }

    /// On an address that nobody else has.
    pub(crate) fn on(address: &str) -> Self {
        let listen = vec![address.parse().unwrap()];
        let config = Config { listen, workers: 2, ..Config::default() };
        let handle = Server::bind(config).unwrap().start().unwrap();
        let address = handle.addresses()[0].to_string();
        Self { handle, address }
    }

    #[allow(dead_code, reason = "not every crate of tests needs it")]
    pub(crate) fn client(&self) -> xchg_client::Client {
        xchg_client::Client::new(self.address.parse().unwrap())
    }

    /// Starts the program in `folder`.
    pub(crate) fn run(&self, folder: &Path, args: &[&str]) -> Client {
        Client::start(folder, &[args, &["--server", &self.address]].concat())
    }
}

impl Drop for Rendezvous {
    fn drop(&mut self) {
        self.handle.cut();
    }
}
