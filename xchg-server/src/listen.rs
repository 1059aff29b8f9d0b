//! Where to listen, and what holds for who comes there.

use std::fmt;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use std::path::PathBuf;
use std::str::FromStr;

use crate::{Access, Dialect};

/// An address to listen on, and what holds for who comes there.
///
/// As text it is the address, then its options behind commas:
/// `127.0.0.1:4980,dialects=http+native,public`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listen {
    /// Where.
    pub address: ListenAddress,
    /// What peers may speak there. Default: [`Config::dialects`](crate::Config::dialects).
    pub dialects: Option<Vec<Dialect>>,
    /// Whether everybody is served though the address is this machine's alone, as behind a proxy.
    /// Default: no, and then only web pages are served that come from this machine, or from
    /// [`Config::allow_origins`](crate::Config::allow_origins).
    pub public: bool,
    /// Whether a proxy comes there, and says by the PROXY protocol, version 1 or 2, whom each
    /// connection is for. Nobody else is served there, nor proxies that are not among
    /// [`Config::trusted_proxies`](crate::Config::trusted_proxies). Default: no.
    pub proxy: bool,
    /// Who may exchange something there. Default: [`Config::access`](crate::Config::access).
    pub access: Option<Access>,
    /// Whether peers may, must or cannot use TLS there. Default: they may, if there is a
    /// [certificate](crate::Config::tls_cert).
    pub tls: Option<Tls>,
}

/// Whether peers use TLS at an address. What they speak within is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tls {
    /// As each likes.
    Offered,
    /// Who does not is refused, and told so in its dialect.
    Required,
    /// What TLS begins with is nothing that the server understands.
    Off,
}

impl Tls {
    const ALL: [Self; 3] = [Self::Offered, Self::Required, Self::Off];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Offered => "offered",
            Self::Required => "required",
            Self::Off => "off",
        }
    }
}

/// An address to listen on, or one that is listened on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "callers connect to what it names")]
pub enum ListenAddress {
    /// An address and port; port 0 lets the system choose.
    Tcp(SocketAddr),
    /// A unix socket's path.
    Unix(PathBuf),
}

impl Listen {
    /// Whether browsers on this machine are to be kept from bringing other sites' pages here: only
    /// they reach a loopback address for somebody else. They do not reach unix sockets at all, nor
    /// do they say what a proxy says first.
    pub(crate) fn is_private(&self) -> bool {
        match self.address {
            ListenAddress::Tcp(address) => {
                address.ip().to_canonical().is_loopback() && !self.public && !self.proxy
            }
            ListenAddress::Unix(_) => false,
        }
    }

    fn set(&mut self, option: &str) -> Result<(), String> {
        let twice = || Err(format!("the option `{option}` comes on top of another of its kind"));
        match option.split_once('=') {
            Some(("dialects", _)) if self.dialects.is_some() => twice(),
            Some(("dialects", names)) => {
                self.dialects = Some(names.split('+').map(dialect).collect::<Result<_, _>>()?);
                Ok(())
            }
            Some(("access", _)) if self.access.is_some() => twice(),
            Some(("access", name)) => {
                let access = Access::ALL.into_iter().find(|access| access.as_str() == name);
                self.access = Some(access.ok_or_else(|| {
                    format!("`{name}` is no access; there are `access=open` and `access=token`")
                })?);
                Ok(())
            }
            Some(("tls", _)) if self.tls.is_some() => twice(),
            Some(("tls", name)) => {
                let known = Tls::ALL.into_iter().find(|tls| tls.as_str() == name);
                let wrong = || format!("`{option}`: write tls=offered, tls=required or tls=off");
                self.tls = Some(known.ok_or_else(wrong)?);
                Ok(())
            }
            None if option == "public" && self.public => twice(),
            None if option == "proxy" && self.proxy => twice(),
            None if option == "public" => {
                self.public = true;
                Ok(())
            }
            None if option == "proxy" => {
                self.proxy = true;
                Ok(())
            }
            _ if option.parse::<ListenAddress>().is_ok() => Err(format!(
                "`{option}` is another address: repeat --listen, or put `;` between the two"
            )),
            _ => Err(format!(
                "`{option}` is no option of a listener; there are `dialects=NAME+NAME`, `access=token`, `tls=MODE`, `public` and `proxy`"
            )),
        }
    }
}

impl Default for ListenAddress {
    fn default() -> Self {
        Self::Tcp((Ipv6Addr::UNSPECIFIED, 4980).into())
    }
}

impl From<ListenAddress> for Listen {
    fn from(address: ListenAddress) -> Self {
        Self { address, ..Self::default() }
    }
}

impl From<SocketAddr> for Listen {
    fn from(address: SocketAddr) -> Self {
        ListenAddress::Tcp(address).into()
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let address = parts.next().unwrap_or_default().parse::<ListenAddress>()?;
        let mut listen = Self::from(address);
        parts.try_for_each(|option| listen.set(option))?;
        Ok(listen)
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)?;
        if let Some(dialects) = &self.dialects {
            let names: Vec<&str> = dialects.iter().map(|dialect| dialect.as_str()).collect();
            write!(f, ",dialects={}", names.join("+"))?;
        }
        if let Some(access) = self.access {
            write!(f, ",access={}", access.as_str())?;
        }
        if let Some(tls) = self.tls {
            write!(f, ",tls={}", tls.as_str())?;
        }
        f.write_str(if self.public { ",public" } else { "" })?;
        f.write_str(if self.proxy { ",proxy" } else { "" })
    }
}

fn dialect(name: &str) -> Result<Dialect, String> {
    Dialect::ALL.into_iter().find(|dialect| dialect.as_str() == name).ok_or_else(|| {
        let names = Dialect::ALL.map(Dialect::as_str).join(", ");
        format!("`{name}` is no dialect; there are {names}, with `+` between several")
    })
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => Err("a path must follow `unix:`".to_owned()),
                path => Ok(Self::Unix(path.into())),
            };
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::Tcp(address));
        }
        match Zoned::parse(text) {
            Some(zoned) => Ok(Self::Tcp(zoned.resolve()?.into())),
            None => Err(format!(
                "`{text}` is no ADDR:PORT (such as 127.0.0.1:4980 or [::]:4980) and no unix:PATH"
            )),
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// An address with the interface that it belongs to by name, such as `[fe80::1%eth0]:4980` (RFC
/// 4007 section 11).
struct Zoned<'a> {
    address: Ipv6Addr,
    interface: &'a str,
    port: u16,
}

impl Zoned<'_> {
    fn parse(text: &str) -> Option<Zoned<'_>> {
        let (host, port) = text.strip_prefix('[')?.split_once("]:")?;
        let (address, interface) = host.split_once('%')?;
        let (address, port) = (address.parse().ok()?, port.parse().ok()?);
        (!interface.is_empty()).then_some(Zoned { address, interface, port })
    }

    fn resolve(&self) -> Result<SocketAddrV6, String> {
        let scope = interface_number(self.interface)?;
        Ok(SocketAddrV6::new(self.address, self.port, 0, scope))
    }
}

#[cfg(target_os = "linux")]
fn interface_number(name: &str) -> Result<u32, String> {
    use rustix::net::{AddressFamily, SocketType, netdevice, socket};
    let any = socket(AddressFamily::UNIX, SocketType::DGRAM, None);
    any.and_then(|any| netdevice::name_to_index(any, name)).map_err(|errno| match errno {
        rustix::io::Errno::NODEV => {
            format!("there is no network interface `{name}` here; `ip link` lists those that are")
        }
        errno => format!("cannot look up the network interface `{name}`: {errno}"),
    })
}

#[cfg(not(target_os = "linux"))]
fn interface_number(name: &str) -> Result<u32, String> {
    Err(format!("name the network interface `{name}` by its number, as `ifconfig -v` shows it"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Listen, String> {
        text.parse()
    }

    #[test]
    fn an_address_has_its_options_behind_it() {
        let listen = parse("127.0.0.1:80,dialects=http+native,public").unwrap();
        assert_eq!(listen.address, ListenAddress::Tcp(([127, 0, 0, 1], 80).into()));
        assert_eq!(listen.dialects, Some(vec![Dialect::Http, Dialect::Native]));
        assert!(listen.public);
        let plain = parse("unix:/run/xchg.sock").unwrap();
        assert_eq!(plain, ListenAddress::Unix("/run/xchg.sock".into()).into());
        assert_eq!((plain.dialects, plain.public), (None, false));
    }

    #[test]
    fn a_listener_may_be_for_proxies() {
        let listen = parse("127.0.0.1:80,proxy,dialects=native").unwrap();
        assert!(listen.proxy && !listen.public && !listen.is_private());
        assert!(!parse("127.0.0.1:80").unwrap().proxy);
    }

    #[test]
    fn a_mistake_is_named_with_what_there_is() {
        for (text, parts) in [
            ("", &["ADDR:PORT"][..]),
            ("localhost", &["`localhost`", "ADDR:PORT"]),
            ("unix:", &["path"]),
            ("127.0.0.1:1,", &["``", "dialects=", "public"]),
            ("127.0.0.1:1,tls", &["`tls`", "tls=MODE"]),
            ("127.0.0.1:1,dialect=http", &["`dialect=http`", "dialects="]),
            ("127.0.0.1:1,public=yes", &["`public=yes`"]),
            ("127.0.0.1:1,dialects=", &["``", "native, classic, http, transit"]),
            ("127.0.0.1:1,dialects=http+ftp", &["`ftp`", "native, classic"]),
            ("127.0.0.1:1,dialects=http,native", &["`native`", "dialects=NAME+NAME"]),
            ("127.0.0.1:1,127.0.0.1:2", &["another address", "--listen", "`;`"]),
            ("127.0.0.1:1,unix:/x", &["another address"]),
            ("127.0.0.1:1,public,public", &["`public`"]),
            ("127.0.0.1:1,proxy,public,proxy", &["`proxy`"]),
            ("127.0.0.1:1,access", &["`access`", "`access=token`"]),
            ("127.0.0.1:1,access=tokens", &["`tokens`", "`access=open`", "`access=token`"]),
            ("127.0.0.1:1,access=open,access=token", &["`access=token`"]),
            ("127.0.0.1:1,tls=", &["`tls=`", "tls=required"]),
            ("127.0.0.1:1,tls=on", &["`tls=on`", "tls=offered"]),
            ("127.0.0.1:1,tls=off,tls=off", &["`tls=off`", "on top"]),
            ("127.0.0.1:1,proxy=v2", &["`proxy=v2`", "`proxy`"]),
            ("127.0.0.1:1,dialects=http,dialects=http", &["`dialects=http`"]),
            ("[fe80::1%nowhere7]:1", &["`nowhere7`", "interface"]),
            ("[fe80::1%a name too long for any interface]:1", &["interface"]),
            ("[fe80::1%]:1", &["ADDR:PORT"]),
            ("[fe80::1%lo]", &["ADDR:PORT"]),
            ("[127.0.0.1%lo]:1", &["ADDR:PORT"]),
        ] {
            let error = parse(text).unwrap_err();
            for part in parts {
                assert!(error.contains(part), "{text}: {part:?} is not in {error:?}");
            }
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_interface_is_named_or_numbered() {
        // Every network namespace has it, as its first.
        for text in ["[fe80::1%lo]:4980", "[fe80::1%1]:4980"] {
            let listen = parse(text).unwrap();
            let expected = SocketAddrV6::new("fe80::1".parse().unwrap(), 4980, 0, 1);
            assert_eq!(listen, SocketAddr::from(expected).into());
            assert_eq!(listen.to_string(), "[fe80::1%1]:4980");
        }
    }

    #[test]
    fn only_loopback_is_private_and_only_until_it_is_made_public() {
        for (text, expected) in [
            ("127.0.0.1:1", true),
            ("127.9.9.9:1", true),
            ("[::1]:1", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("127.0.0.1:1,dialects=http", true),
            ("127.0.0.1:1,public", false),
            ("0.0.0.0:1", false),
            ("[::]:1", false),
            ("192.168.0.1:1", false),
            ("unix:/run/x", false),
        ] {
            assert_eq!(parse(text).unwrap().is_private(), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_can_be_read(
            address in any::<SocketAddr>(),
            path in "[a-z/;:+= ]{1,20}",
            is_unix in any::<bool>(),
            dialects in proptest::option::of(proptest::sample::subsequence(Dialect::ALL.to_vec(), 1..=4)),
            [public, proxy] in any::<[bool; 2]>(),
            access in proptest::option::of(proptest::sample::select(Access::ALL.to_vec())),
            tls in proptest::option::of(proptest::sample::select(&Tls::ALL[..])),
        ) {
            let address = match (address, is_unix) {
                (_, true) => ListenAddress::Unix(path.into()),
                // A flow is no part of the text.
                (SocketAddr::V6(v6), _) => ListenAddress::Tcp(
                    SocketAddrV6::new(*v6.ip(), v6.port(), 0, v6.scope_id()).into(),
                ),
                (address, _) => ListenAddress::Tcp(address),
            };
            let listen = Listen { address, dialects, public, proxy, access, tls };
            prop_assert_eq!(parse(&listen.to_string()), Ok(listen));
        }
    }
}
