//! The configuration file: what need not be said each time. A flag beats the environment, that the
//! file, that the default.

use std::env;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use toml::{Table, Value};
use xchg_client::{Address, Token, Trust, Wait};

use crate::cli::{self, usage_error};
use crate::say::{Verbosity, say};
use crate::system::is_open_to_others;

/// What the file says.
#[derive(Default)]
pub(crate) struct Settings {
    pub(crate) server: Option<Address>,
    pub(crate) token: Option<Token>,
    pub(crate) trust: Option<Trust>,
    pub(crate) cert: Option<PathBuf>,
    pub(crate) wait: Option<Wait>,
    pub(crate) yes: bool,
}

/// Reads the file, if there is one. Whatever is wrong with it is said at once, and ends the
/// program.
pub(crate) fn load(verbosity: Verbosity) -> Settings {
    let Some(path) = path() else {
        return Settings::default();
    };
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Settings::default();
        }
        Err(error) => usage_error(&format!("cannot read {}: {error}", path.display())),
    };
    match parse(&text) {
        Ok(settings) => {
            if settings.token.is_some() && verbosity != Verbosity::Json && is_open_to_others(&path)
            {
                say(&format!(
                    "note: {0} holds a token, and other users can read it; chmod 600 {0}",
                    path.display()
                ));
            }
            settings
        }
        Err(errors) => {
            let errors = errors.iter().map(|error| format!("\n  {error}")).collect::<String>();
            usage_error(&format!("{} cannot be used:{errors}", path.display()))
        }
    }
}

/// Where the configuration file is (<https://specifications.freedesktop.org/basedir-spec/latest/>).
fn path() -> Option<PathBuf> {
    let folder = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = folder("XDG_CONFIG_HOME").or_else(|| Some(folder("HOME")?.join(".config")))?;
    Some(base.join("xchg/client.toml"))
}

/// # Errors
/// All that is wrong with it, in words.
fn parse(text: &str) -> Result<Settings, Vec<String>> {
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        vec![error.to_string().trim_end().replace('\n', "\n  ")]
    })?;
    let mut settings = Settings::default();
    let mut errors = Vec::new();
    for (name, value) in &table {
        if let Err(error) = set(&mut settings, name, value) {
            errors.push(error);
        }
    }
    if errors.is_empty() { Ok(settings) } else { Err(errors) }
}

fn set(settings: &mut Settings, name: &str, value: &Value) -> Result<(), String> {
    match (name, value) {
        ("server", Value::String(text)) => {
            let address = text.parse().map_err(|error| format!("server: {error}"))?;
            settings.server = Some(address);
        }
        ("server", _) => return Err("server is a text, such as \"example.org:4980\"".into()),
        ("token", Value::String(text)) => {
            let token = Token::parse(text.as_bytes());
            settings.token = Some(token.map_err(|_| "token: it has 1 to 255 bytes")?);
        }
        ("token", _) => return Err("token is a text".into()),
        ("ca" | "pin", _) if settings.trust.is_some() => {
            return Err("ca and pin exclude each other".into());
        }
        ("ca", Value::String(path)) => settings.trust = Some(Trust::Authority(path.into())),
        ("pin", Value::String(text)) => {
            let pin = text.parse().map_err(|error| format!("pin: {error}"))?;
            settings.trust = Some(Trust::Pin(pin));
        }
        ("cert", Value::String(path)) => settings.cert = Some(path.into()),
        ("ca" | "pin" | "cert", _) => return Err(format!("{name} is a text")),
        ("wait", Value::String(_) | Value::Integer(_) | Value::Float(_)) => {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            settings.wait = Some(cli::wait(&text).map_err(|error| format!("wait: {error}"))?);
        }
        ("wait", _) => return Err("wait is a number of seconds, or a text such as \"5m\"".into()),
        ("yes", Value::Boolean(yes)) => settings.yes = *yes,
        ("yes", _) => return Err("yes is true or false".into()),
        (name, _) => {
            return Err(format!(
                "there is no `{name}`; there are server, ca, pin, cert, token, wait and yes"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_file_may_say_little_or_all() {
        assert!(parse("").is_ok_and(|settings| settings.server.is_none() && !settings.yes));
        let text = "server = \"host\"\ntoken = \"sesame\"\nwait = \"5m\"\nyes = true\n";
        let settings = parse(text).unwrap_or_default();
        assert_eq!(settings.server.unwrap().to_string(), "host:4980");
        assert_eq!(settings.token.unwrap().as_bytes(), b"sesame");
        assert_eq!(settings.wait, Some(Wait::AtMost(Duration::from_secs(300))));
        assert!(settings.yes);
        let settings = parse("ca = \"root.pem\"\ncert = \"me.pem\"").unwrap_or_default();
        assert_eq!(settings.trust, Some(Trust::Authority("root.pem".into())));
        assert_eq!(settings.cert, Some("me.pem".into()));
        for (text, wait) in [
            ("wait = -1", Wait::Forever),
            ("wait = 1.5", Wait::AtMost(Duration::from_millis(1500))),
        ] {
            assert_eq!(parse(text).unwrap_or_default().wait, Some(wait));
        }
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        let text = "server = \"https://\"\npin = \"12\"\ncert = 3\ntoken = 7\nwait = \"soon\"\nyes = 1\nserwer = 2\n";
        let errors = parse(text).err().unwrap().concat();
        for part in [
            "server: `https://` is no address",
            "pin: write the SHA-256 fingerprint",
            "cert is a text",
            "token is a text",
            "wait: write seconds",
            "yes is true or false",
            "there is no `serwer`; there are server, ca, pin, cert, token, wait and yes",
        ] {
            assert!(errors.contains(part), "no {part} in {errors}");
        }
        let errors = parse("server = ").err().unwrap().concat();
        assert!(errors.contains("line 1"), "{errors}");
    }
}
