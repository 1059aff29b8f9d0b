//! Holds docs/configuring.md to what the program takes, and SECURITY.md to the tests that it names.

use std::path::Path;
use std::process::Command;

const CONFIGURING: &str = include_str!("../../../docs/configuring.md");

/// The config file that docs/configuring.md shows.
fn sample() -> &'static str {
    let (_, rest) = CONFIGURING.split_once("```toml\n").expect("the page shows a config file");
    rest.split_once("```").expect("the block ends").0
}

fn server() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xchg-server"));
    command.env_clear();
    command
}

#[test]
fn the_config_file_in_the_docs_is_fine() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("xchg.toml");
    std::fs::write(&path, sample()).unwrap();
    let output = server().arg("--check-config").arg("--config").arg(path).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.status.success());
}

#[test]
fn the_config_file_in_the_docs_has_every_setting() {
    /// Where the file is and how the program logs is not for the file to say.
    const NOT_IN_FILES: [&str; 3] = ["CONFIG", "LOG_LEVEL", "LOG_FORMAT"];
    /// Who copies the file had better not have them, or has no such file: the text beside it says
    /// when to set them.
    const BETTER_LEFT_ALONE: [&str; 7] = [
        "recv_buffer",
        "send_buffer",
        "token_file",
        "tls_cert",
        "tls_key",
        "tls_self_signed",
        "client_ca",
    ];
    let help = server().arg("--help").output().unwrap().stdout;
    let help = String::from_utf8(help).unwrap();
    let variables = help.split("[env: XCHG_").skip(1);
    let names = variables.map(|rest| rest.split(['=', ']']).next().unwrap());
    let expected: Vec<String> =
        names.filter(|name| !NOT_IN_FILES.contains(name)).map(str::to_lowercase).collect();
    let shown: Vec<&str> =
        sample().lines().filter_map(|line| line.split_once(" = ")).map(|(name, _)| name).collect();
    assert!(expected.len() > 10, "{help}");
    for name in &expected {
        let is_shown = if BETTER_LEFT_ALONE.contains(&name.as_str()) {
            CONFIGURING.contains(&format!("`{name}`")) && !shown.contains(&name.as_str())
        } else {
            shown.contains(&name.as_str())
        };
        assert!(is_shown, "docs/configuring.md does not show `{name}`");
    }
}

/// The Rust sources in a folder, and in those below it.
fn sources(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let texts = entries.flat_map(|path| match path.extension() {
        _ if path.is_dir() => sources(&path),
        Some(extension) if extension == "rs" => vec![std::fs::read_to_string(path).unwrap()],
        _ => Vec::new(),
    });
    texts.collect()
}

#[test]
fn the_tests_that_security_md_names_exist() {
    const SECURITY: &str = include_str!("../../../SECURITY.md");
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let folders = ["xchg-core", "xchg-server", "xchg-client"].into_iter();
    let sources: Vec<String> = folders
        .flat_map(|name| ["src", "tests"].map(|part| workspace.join(name).join(part)))
        .flat_map(|folder| sources(&folder))
        .collect();
    // Between backticks; settings have fewer words.
    let named: Vec<&str> = SECURITY
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|name| name.matches('_').count() >= 3)
        .collect();
    assert!(named.len() > 30, "{named:?}");
    for name in named {
        let declared = format!("fn {name}(");
        let is_test = |text: &String| {
            text.split_once(&declared).is_some_and(|(before, _)| {
                before.lines().rev().take(6).any(|line| line.trim() == "#[test]")
            })
        };
        assert!(sources.iter().any(is_test), "SECURITY.md names `{name}`, which is no test");
    }
}
