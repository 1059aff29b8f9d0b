//! The config file and the environment, read so that every mistake in them is told at once, and in
//! words.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::Path;

use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, Args, Command, CommandFactory, FromArgMatches, Parser};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::cli::{Cli, Settings};

/// Variables of the client, which are no misspelt ones of the server.
const CLIENTS: [&str; 5] = ["XCHG_SERVER", "XCHG_SECRET", "XCHG_CA", "XCHG_PIN", "XCHG_CERT"];

/// All that is wrong with a configuration.
#[derive(Debug, Default)]
pub(crate) struct Mistakes(Vec<String>);

impl Mistakes {
    pub(crate) fn add(&mut self, mistake: impl fmt::Display) {
        self.0.push(mistake.to_string());
    }

    pub(crate) fn none(self) -> Result<(), Self> {
        if self.0.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl std::error::Error for Mistakes {}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0[..] {
            [one] => f.write_str(one),
            all => {
                write!(f, "{} mistakes in the configuration:", all.len())?;
                all.iter().try_for_each(|mistake| write!(f, "\n  {mistake}"))
            }
        }
    }
}

/// The command line, without the environment if that has a mistake. Mistakes of its own end the
/// program, as its help does.
pub(crate) fn flags() -> Cli {
    let error = match Cli::try_parse() {
        Ok(cli) => return cli,
        Err(error) => error,
    };
    if !error.use_stderr() {
        error.exit();
    }
    let matches = without_environment(Cli::command()).try_get_matches();
    let matches = matches.unwrap_or_else(|error| without_secret(error).exit());
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// A mistake on the command line, without the value of what is hidden elsewhere, too.
fn without_secret(mut error: clap::Error) -> clap::Error {
    let Some(ContextValue::String(wrong)) = error.get(ContextKind::InvalidArg) else {
        return error;
    };
    let wrong = wrong.split(' ').next().and_then(|flag| flag.strip_prefix("--"));
    let is_secret = |arg: &Arg| arg.is_hide_env_values_set() && arg.get_long() == wrong;
    if wrong.is_some() && Cli::command().get_arguments().any(is_secret) {
        let hidden = ContextValue::String("…".to_owned());
        error.insert(ContextKind::InvalidValue, hidden);
    }
    error
}

/// Sees whether the variables of the environment are what flags may be.
pub(crate) fn check_environment(
    variables: impl Iterator<Item = (OsString, OsString)>,
    mistakes: &mut Mistakes,
) {
    let command = Cli::command();
    let known: Vec<(&Arg, &str)> =
        command.get_arguments().filter_map(|arg| Some((arg, arg.get_env()?.to_str()?))).collect();
    let names: Vec<&str> = known.iter().map(|(_, name)| *name).chain(CLIENTS).collect();
    for (name, value) in variables {
        let Some(name) = name.to_str().filter(|name| name.starts_with("XCHG_")) else { continue };
        if let Some((arg, _)) = known.iter().find(|(_, known)| *known == name) {
            if let Err(why) = parse(without_environment(Cli::command()), &[flag(arg, &value)]) {
                mistakes.add(format_args!("{name}{}: {why}", shown(arg, &value)));
            }
        } else if !names.contains(&name)
            // Others may have variables that begin so, too.
            && let Some(meant) = names.iter().find(|known| is_like(known, name))
        {
            mistakes.add(format_args!("there is no {name}; did you mean {meant}?"));
        }
    }
}

/// Whether `name` is likely a slip for the variable `known`: a letter or two are others, or the
/// program's name is in it.
fn is_like(known: &str, name: &str) -> bool {
    let short = name.replacen("XCHG_SERVER_", "XCHG_", 1);
    strsim::osa_distance(known, name).min(strsim::osa_distance(known, &short)) <= 2
}

/// The settings in the file at `path` that are right.
pub(crate) fn read_file(path: &Path, mistakes: &mut Mistakes) -> Settings {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            mistakes.add(format_args!("cannot read the config file {}: {error}", path.display()));
            return Settings::default();
        }
    };
    let (table, errors) = DeTable::parse_recoverable(&text);
    let at = |offset: usize| {
        let line = text[..offset.min(text.len())].matches('\n').count() + 1;
        format!("{} line {line}", path.display())
    };
    for error in errors {
        let place = at(error.span().map_or(0, |span| span.start));
        mistakes.add(format_args!("{place}: {}", error.message()));
    }
    let mut args = Vec::new();
    let mut settings: Vec<_> = table.get_ref().iter().collect();
    settings.sort_by_key(|(name, _)| name.span().start);
    for (name, value) in settings {
        match setting(name.get_ref(), value) {
            Ok(flags) => args.extend(flags),
            Err(why) => mistakes.add(format_args!("{}: {why}", at(name.span().start))),
        }
    }
    let matches = parse(file_command(), &args).expect("each was understood");
    Settings::from_arg_matches(&matches).expect("all of them are options")
}

/// The flags that a setting in the file is the same as.
fn setting(name: &str, value: &Spanned<DeValue<'_>>) -> Result<Vec<OsString>, String> {
    let command = file_command();
    let names = || command.get_arguments().map(|arg| arg.get_id().as_str());
    let Some(arg) = command.get_arguments().find(|arg| arg.get_id() == name) else {
        let alike = names().map(|known| (strsim::jaro_winkler(known, name), known));
        let best = alike.max_by(|(one, _), (other, _)| one.total_cmp(other));
        let meant = best.filter(|(likeness, _)| *likeness > 0.8);
        let meant = meant.map_or(String::new(), |(_, known)| format!("; did you mean `{known}`?"));
        return Err(format!("there is no setting `{name}`{meant}"));
    };
    let values = texts(value.get_ref());
    if values.is_empty() {
        return Err(format!("{name}: a value is missing"));
    }
    if values.len() > 1 && !matches!(arg.get_action(), ArgAction::Append) {
        return Err(format!("{name}: it takes one value, not {}", values.len()));
    }
    let flags: Vec<_> = values.iter().map(|value| flag(arg, OsStr::new(value))).collect();
    for (value, flag) in values.iter().zip(&flags) {
        parse(file_command(), std::slice::from_ref(flag))
            .map_err(|why| format!("{name}{}: {why}", shown(arg, OsStr::new(value))))?;
    }
    Ok(flags)
}

/// A value, or those of a list, as they are written on the command line.
fn texts(value: &DeValue<'_>) -> Vec<String> {
    match value {
        DeValue::String(text) => vec![text.to_string()],
        DeValue::Integer(number) => match i128::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => vec![number.to_string()],
            Err(_) => vec![number.as_str().to_owned()],
        },
        DeValue::Float(number) => vec![number.as_str().to_owned()],
        DeValue::Boolean(value) => vec![value.to_string()],
        DeValue::Datetime(time) => vec![time.to_string()],
        DeValue::Array(values) => values.iter().flat_map(|value| texts(value.get_ref())).collect(),
        DeValue::Table(_) => Vec::new(),
    }
}

fn flag(arg: &Arg, value: &OsStr) -> OsString {
    let mut flag = OsString::from(format!("--{}=", arg.get_long().unwrap_or_default()));
    flag.push(value);
    flag
}

/// A value as mistakes show it: not at all, where it is a secret.
fn shown(arg: &Arg, value: &OsStr) -> String {
    if arg.is_hide_env_values_set() { String::new() } else { format!(" = {value:?}") }
}

/// The options that a file may have.
fn file_command() -> Command {
    without_environment(Settings::augment_args(Command::new("xchg-server")))
}

fn without_environment(command: Command) -> Command {
    command.mut_args(|arg| arg.env(Resettable::Reset))
}

/// What the command line `args` says, or why not.
fn parse(command: Command, args: &[OsString]) -> Result<clap::ArgMatches, String> {
    let name = OsString::from("xchg-server");
    command.try_get_matches_from(std::iter::once(&name).chain(args)).map_err(|error| {
        if let Some(source) = std::error::Error::source(&error) {
            return source.to_string();
        }
        let list = |kind| match error.get(kind) {
            Some(ContextValue::Strings(values)) => values.clone(),
            Some(ContextValue::String(value)) => vec![value.clone()],
            _ => Vec::new(),
        };
        let possible = list(ContextKind::ValidValue).join(", ");
        match &list(ContextKind::SuggestedValue)[..] {
            [meant, ..] => format!("did you mean `{meant}`? There are {possible}"),
            [] if possible.is_empty() => error.kind().to_string(),
            [] => format!("use one of {possible}"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_file(text: &str) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("xchg.toml");
        std::fs::write(&path, text).unwrap();
        let mut mistakes = Mistakes::default();
        read_file(&path, &mut mistakes);
        let place = format!("{} ", path.display());
        mistakes.0.iter().map(|mistake| mistake.replace(&place, "")).collect()
    }

    fn in_environment(variables: &[(&str, &str)]) -> Vec<String> {
        let mut mistakes = Mistakes::default();
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
        check_environment(variables, &mut mistakes);
        mistakes.0
    }

    #[test]
    fn every_mistake_in_a_file_is_told_with_its_line() {
        let text = "max_waiting = 'many'\n\nlisten_on = 'x'\nworkers = 2\nterminate = 'nevr'\n\
                    recv_buffer = '256X'\nidle_timeout = -1\nlog_keys = 1\nnonsense = 3\n\
                    token = ''\nlisten = []\nmax-waiting-per-key = 1\n";
        assert_eq!(
            in_file(text),
            [
                "line 1: max_waiting = \"many\": write a number, such as 100000",
                "line 3: there is no setting `listen_on`; did you mean `listen`?",
                "line 5: terminate = \"nevr\": did you mean `never`? There are loopback, token, any, never",
                "line 6: recv_buffer = \"256X\": write a number of bytes, such as 65536, 64K or 1M",
                "line 7: idle_timeout = \"-1\": write a number of seconds, such as 30 or 0.5",
                "line 8: log_keys = \"1\": use one of true, false",
                "line 9: there is no setting `nonsense`",
                "line 10: token: write a token of 1 to 255 bytes",
                "line 11: listen: a value is missing",
                "line 12: there is no setting `max-waiting-per-key`; did you mean `max_waiting_per_key`?",
            ]
        );
    }

    #[test]
    fn mistakes_name_the_setting_the_value_and_what_would_be_right() {
        for (text, parts) in [
            (
                "trusted_proxies = ['10.0.0.0/8', '10.0.0.1/8']",
                &["\"10.0.0.1/8\"", "10.0.0.0/8"][..],
            ),
            ("trusted_proxies = 'everybody'", &["\"everybody\"", "2001:db8::/32"]),
            ("listen = '127.0.0.1:1,proxy=v2'", &["127.0.0.1:1,proxy=v2", "`proxy`"]),
            ("listen = '127.0.0.1:1,access=tokens'", &["access=token`"]),
            ("access = 'tokn'", &["access = \"tokn\"", "did you mean `token`", "open, token"]),
            ("max_offers_per_second = 'few'", &["\"few\"", "a number, such as 10"]),
            ("max_exchange_bytes = '4T'", &["\"4T\"", "1M"]),
            ("limit_rate_exchange = '20MB'", &["\"20MB\"", "500K or 20M"]),
            ("limit_rate_source = 100", &["\"100\"", "from 1K on"]),
            ("limit_rate_total = '-1M'", &["\"-1M\"", "500K or 20M"]),
        ] {
            let setting = text.split(' ').next().unwrap();
            let told = in_file(text).join("\n");
            assert!(told.starts_with(&format!("line 1: {setting} = ")), "{told}");
            assert!(parts.iter().all(|part| told.contains(part)), "{text}: {told}");
        }
    }

    #[test]
    fn only_settings_that_may_be_repeated_take_lists() {
        let text = "workers = [1, 2]\ntoken = ['secret', 'other']\nlog_keys = [true, false]\n\
                    idle_timeout = [[5]]\nadmin = ['127.0.0.1:1', '127.0.0.1:2']\n";
        let told = in_file(text);
        let lines = ["line 1: workers", "line 2: token", "line 3: log_keys"];
        assert_eq!(told, lines.map(|line| format!("{line}: it takes one value, not 2")));
    }

    #[test]
    fn a_file_that_is_no_toml_is_told_with_the_line() {
        let mistakes = in_file("workers = 2\nlisten = \nworkers = 3\nmax_waiting = 'x'\n");
        assert!(mistakes[0].starts_with("line 2: "), "{mistakes:?}");
        assert!(mistakes.iter().any(|mistake| mistake.starts_with("line 3: ")), "{mistakes:?}");
        assert!(mistakes.last().unwrap().starts_with("line 4: max_waiting"), "{mistakes:?}");
    }

    #[test]
    fn values_of_a_file_may_be_numbers_texts_and_lists() {
        let text = "workers = 0x10\nidle_timeout = 0.5\npipe_size = '1M'\nmax_waiting = 1_000\n\
                    dialects = ['http', 'native']\nlog_keys = true\n";
        assert_eq!(in_file(text), [""; 0]);
    }

    #[test]
    fn every_mistake_in_the_environment_is_told() {
        assert_eq!(
            in_environment(&[
                ("XCHG_WORKERS", "two"),
                ("XCHG_MAX_WAITNG", "5"),
                ("XCHG_SERVER_LISTEN", "[::]:1"),
                ("XCHG_LOG_LEVEL", "dbug"),
                ("XCHG_TOKEN", ""),
                ("XCHG_DIALECTS", "http,gopher"),
                // The client's, others', and what is right.
                ("XCHG_SERVER", "here"),
                ("XCHG_SECRET", "x"),
                ("XCHG_PYTHON", "x"),
                ("XCHG_IDLE_TIMEOUT", "5"),
                ("HOME", "/"),
            ]),
            [
                "XCHG_WORKERS = \"two\": write a number, such as 4",
                "there is no XCHG_MAX_WAITNG; did you mean XCHG_MAX_WAITING?",
                "there is no XCHG_SERVER_LISTEN; did you mean XCHG_LISTEN?",
                "XCHG_LOG_LEVEL = \"dbug\": did you mean `debug`? There are off, error, warn, info, debug",
                "XCHG_TOKEN: write a token of 1 to 255 bytes",
                "XCHG_DIALECTS = \"http,gopher\": use one of native, classic, http, transit",
            ]
        );
    }
}
