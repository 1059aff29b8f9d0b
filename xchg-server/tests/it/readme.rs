//! Holds README.md to what the program takes.

use std::process::Command;

const README: &str = include_str!("../../../README.md");

/// The config file that the README shows.
fn sample() -> &'static str {
    let (_, rest) = README.split_once("```toml\n").expect("the README shows a config file");
    rest.split_once("```").expect("the block ends").0
}

fn server() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xchg-server"));
    command.env_clear();
    command
}

#[test]
fn the_config_file_in_the_readme_is_fine() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("xchg.toml");
    std::fs::write(&path, sample()).unwrap();
    let output = server().arg("--check-config").arg("--config").arg(path).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.status.success());
}

#[test]
fn the_config_file_in_the_readme_has_every_setting() {
    /// Where the file is and how the program logs is not for the file to say.
    const NOT_IN_FILES: [&str; 3] = ["CONFIG", "LOG_LEVEL", "LOG_FORMAT"];
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
        assert!(shown.contains(&name.as_str()), "README.md does not show `{name}`");
    }
}
