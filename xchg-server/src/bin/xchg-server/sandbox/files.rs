//! Files, by landlock(7): none can be opened any more but in the folders that are named, and no
//! connection be made or port taken.

use std::path::PathBuf;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};

use super::Folders;

/// The newest rights that this knows of. A kernel that has only older ones forbids those.
const KNOWN: ABI = ABI::V6;

/// # Errors
/// In words, if the kernel does not confine it.
pub(super) fn confine(folders: &Folders) -> Result<&'static str, String> {
    let failed = |error: RulesetError| format!("not confined: landlock fails: {error}");
    let status = ruleset(folders).and_then(RulesetCreated::restrict_self).map_err(failed)?;
    match (status.ruleset, status.landlock) {
        (RulesetStatus::FullyEnforced, _) => Ok("confined"),
        // Files are what older kernels confine, too; ports and signals came later.
        (RulesetStatus::PartiallyEnforced, _) => Ok("confined as far as this kernel can"),
        (_, LandlockStatus::NotEnabled) => {
            Err("not confined: landlock is turned off in this kernel".to_owned())
        }
        _ => Err("not confined: this kernel has no landlock".to_owned()),
    }
}

fn ruleset(folders: &Folders) -> Result<RulesetCreated, RulesetError> {
    Ruleset::default()
        .handle_access(AccessFs::from_all(KNOWN))?
        .handle_access(AccessNet::from_all(KNOWN))?
        .scope(Scope::from_all(KNOWN))?
        .create()?
        .add_rules(path_beneath_rules(own(), AccessFs::ReadFile | AccessFs::ReadDir))?
        .add_rules(path_beneath_rules(&folders.read, AccessFs::ReadFile | AccessFs::ReadDir))?
        .add_rules(path_beneath_rules(&folders.write, replacing()))
}

/// What is read whatever the configuration: figures of this process, and its program, for the names
/// in the backtrace of a panic.
fn own() -> Vec<PathBuf> {
    let program = std::env::current_exe().ok();
    program.into_iter().chain(["/proc/self".into()]).collect()
}

/// To write a file, to have it take another's place, and to remove it.
fn replacing() -> BitFlags<AccessFs> {
    AccessFs::MakeReg | AccessFs::WriteFile | AccessFs::Truncate | AccessFs::RemoveFile
}
