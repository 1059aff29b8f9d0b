//! What is wrong with a configuration, and types cannot tell.

use std::time::SystemTime;

use super::{Config, Terminate};
use crate::access::Store;
use crate::tls::{self, Files};
use crate::{Access, Dialect, Error, ListenAddress, Tls};

/// Each connection has the number of its listener, in a byte.
const MAX_LISTENERS: usize = 256;

/// The most that buffers and pipes may be asked to hold; kernels have lower limits of their own.
const MAX_BUFFER_BYTES: usize = 1 << 30;

impl Config {
    /// Checks what types cannot.
    ///
    /// # Errors
    /// The first of the [problems](Self::problems).
    pub fn check(&self) -> Result<(), Error> {
        self.problems().into_iter().next().map_or(Ok(()), Err)
    }

    /// All that is wrong and types cannot tell: each an [`Error::Config`] that names the setting
    /// and what it may be. Reads the [token file](Self::token_file) and the certificates.
    pub fn problems(&self) -> Vec<Error> {
        let mut problems = Vec::new();
        let mut wrong = |setting, why: &str| {
            problems.push(Error::Config { setting, why: why.to_owned() });
        };
        self.check_addresses(&mut wrong);
        self.check_limits(&mut wrong);
        self.check_times(&mut wrong);
        self.check_access(&mut wrong);
        if let Some(Err(mistakes)) = self.token_file.as_deref().map(Store::open) {
            problems.extend(mistakes);
        }
        problems.extend(tls::problems(self));
        problems
    }

    /// What is wrong with [`client_ca`](Self::client_ca) alone, where the server's certificate is
    /// yet to be made.
    pub fn client_ca_problem(&self) -> Option<Error> {
        self.client_ca.as_deref().and_then(tls::client_ca_problem)
    }

    fn check_addresses(&self, wrong: &mut impl FnMut(&'static str, &str)) {
        if self.listen.is_empty() {
            wrong("listen", "name at least one address");
        }
        if self.listen.len() > MAX_LISTENERS {
            wrong("listen", "too many addresses: use one for all, such as [::]:4980");
        }
        if self.admin.len() > MAX_LISTENERS {
            wrong("admin", "too many addresses");
        }
        let mut own = self.listen.iter().filter_map(|listen| listen.dialects.as_deref());
        if self.dialects.is_empty() || own.any(<[_]>::is_empty) {
            wrong("dialects", "nobody could be served: name at least one");
        }
        let peers = self.listen.iter().map(|listen| ("listen", &listen.address));
        let all: Vec<_> =
            peers.chain(self.admin.iter().map(|address| ("admin", address))).collect();
        for (place, (setting, address)) in all.iter().enumerate() {
            let is_of_choice = matches!(address, ListenAddress::Tcp(tcp) if tcp.port() == 0);
            if let Some((before, _)) = all[..place].iter().find(|(_, other)| other == address)
                && !is_of_choice
            {
                wrong(setting, &format!("{address} is named before, by {before}: use another"));
            }
        }
        for address in self.admin.iter().filter(|_| self.token.is_none()) {
            if let ListenAddress::Tcp(tcp) = address
                && !tcp.ip().to_canonical().is_loopback()
            {
                let why = format!(
                    "others reach {address}, and nobody would be asked for a token: set XCHG_TOKEN or `token` in the \
                     config file, or use 127.0.0.1:PORT or unix:PATH"
                );
                wrong("admin", &why);
            }
        }
    }

    fn check_limits(&self, wrong: &mut impl FnMut(&'static str, &str)) {
        const NOBODY_WAITS: &str = "with 0 nobody could wait: use at least 1";
        if !(1..=1024).contains(&self.workers) {
            wrong("workers", &format!("{} cannot be had: use 1 to 1024", self.workers));
        }
        if self.max_connections < 2 {
            let why =
                format!("an exchange takes two, not {}: use at least 2", self.max_connections);
            wrong("max-connections", &why);
        }
        if self.max_connections_per_source == Some(0) {
            wrong("max-connections-per-source", "with 0 nobody could connect: use at least 1");
        }
        if self.limits.waiting == 0 {
            wrong("max-waiting", NOBODY_WAITS);
        }
        if self.limits.waiting_per_key == 0 {
            wrong("max-waiting-per-key", NOBODY_WAITS);
        }
        if self.limits.waiting_per_origin == Some(0) {
            wrong("max-waiting-per-source", NOBODY_WAITS);
        }
        if self.max_exchange_bytes == Some(0) {
            wrong("max-exchange-bytes", "with 0 nothing could be exchanged: use at least 1");
        }
        if self.max_offers_per_second == Some(0) {
            wrong("max-offers-per-second", "with 0 nobody could exchange anything: use at least 1");
        }
        for (setting, bytes) in
            [("recv-buffer", self.recv_buffer), ("send-buffer", self.send_buffer)]
        {
            if let Some(bytes) = bytes.filter(|bytes| !(1..=MAX_BUFFER_BYTES).contains(bytes)) {
                wrong(setting, &format!("{bytes} cannot be had: use 1 to 1G, or leave it out"));
            }
        }
        if self.pipe_size > MAX_BUFFER_BYTES {
            let why = format!("{} cannot be had: use up to 1G, or 0 to copy", self.pipe_size);
            wrong("pipe-size", &why);
        }
    }

    fn check_times(&self, wrong: &mut impl FnMut(&'static str, &str)) {
        for (setting, time, what) in [
            ("greeting-timeout", self.greeting_timeout, "nobody could be heard"),
            ("idle-timeout", self.idle_timeout, "every exchange would be cut"),
            ("heartbeat", self.heartbeat, "it would never end"),
        ] {
            if time.is_zero() {
                wrong(setting, &format!("with 0 {what}: use more, such as 0.5"));
            }
        }
    }

    fn check_access(&self, wrong: &mut impl FnMut(&'static str, &str)) {
        if self.terminate == Terminate::Token && self.token.is_none() {
            wrong(
                "terminate",
                "`token` needs a token: set XCHG_TOKEN or `token` in the config file",
            );
        }
        let access = |index: usize| self.listen[index].access.unwrap_or(self.access);
        let for_bearers: Vec<_> =
            (0..self.listen.len()).filter(|&index| access(index) == Access::Token).collect();
        if !for_bearers.is_empty() && self.token.is_none() && self.token_file.is_none() {
            wrong("access", "`token` needs tokens: name a file of them by `token-file`");
        }
        if for_bearers.is_empty() && self.token_file.is_some() {
            wrong(
                "token-file",
                "nobody is asked for a token: set `access` to `token`, of all or of a listener",
            );
        }
        let takes_tokens = |dialect: &Dialect| matches!(dialect, Dialect::Native | Dialect::Http);
        for listen in for_bearers.into_iter().map(|index| &self.listen[index]) {
            let dialects = listen.dialects.as_ref().unwrap_or(&self.dialects);
            if !dialects.iter().any(takes_tokens) {
                let why = format!(
                    "`{listen}`: it takes a token, for which classic and transit have no place: add native or \
                     http to the dialects, or access=open"
                );
                wrong("listen", &why);
            }
        }
    }

    /// What is right and yet to be seen to: a certificate that has expired, or is about to, and
    /// addresses where nobody has to show one though others do.
    #[expect(clippy::disallowed_methods, reason = "asked before there is an engine")]
    pub fn warnings(&self) -> Vec<String> {
        let store = Files::of(self).and_then(|files| tls::Store::open(files).ok());
        let warning = store.and_then(|store| store.warning(SystemTime::now()));
        let open = self.listen.iter().filter(|listen| listen.tls != Some(Tls::Required));
        let open = open.filter(|_| self.client_ca.is_some()).map(|listen| {
            format!(
                "client-ca: who comes to `{listen}` without TLS needs no certificate: add tls=required"
            )
        });
        let wide = self.trusted_proxies.iter().filter(|network| network.is_everything());
        let wide = wide.map(|network| {
            format!(
                "trusted-proxies: with {network} whoever comes may say that he comes for somebody \
                 else, past the limits of an address: name the networks of your proxies"
            )
        });
        warning.map(str::to_owned).into_iter().chain(open).chain(wide).collect()
    }
}
