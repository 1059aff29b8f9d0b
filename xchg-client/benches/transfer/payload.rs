//! What is sent, and whether it arrived.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::Error;

const SMALL_BYTES: usize = 4096;
const MIB: usize = 1 << 20;

/// A file or a folder to send, and the folder that it goes to.
pub(crate) struct Payload {
    pub(crate) name: String,
    /// What it counts for, in `unit` times a second.
    pub(crate) amount: f64,
    pub(crate) unit: &'static str,
    pub(crate) path: PathBuf,
    pub(crate) inbox: PathBuf,
}

impl Payload {
    /// One file of so many MiB that do not repeat within one.
    pub(crate) fn big(folder: &Path, mib: usize) -> Result<Self, Error> {
        let path = folder.join("big");
        let mut piece = vec![0; MIB];
        blake3::Hasher::new().finalize_xof().fill(&mut piece);
        let mut file = File::create(&path)?;
        (0..mib).try_for_each(|_| file.write_all(&piece))?;
        Self::new(format!("one file of {mib} MiB"), mib, "MiB/s", path, folder)
    }

    /// One file of 1 KiB.
    pub(crate) fn kib(folder: &Path) -> Result<Self, Error> {
        let path = folder.join("kib");
        fs::write(&path, [7; 1024])?;
        Self::new("one file of 1 KiB".into(), 1, "KiB/s", path, folder)
    }

    /// The same, sent through a server that is so far away.
    pub(crate) fn at(mut self, distance: Option<Duration>) -> Self {
        if let Some(round_trip) = distance {
            self.name += &format!(", server {} ms away", round_trip.as_millis());
        }
        self
    }

    /// A folder of so many files of 4 KiB, each with content of its own.
    pub(crate) fn small(folder: &Path, files: usize) -> Result<Self, Error> {
        let path = folder.join("small");
        fs::create_dir(&path)?;
        for number in 0..files {
            let content = [number.to_string().into_bytes(), vec![7; SMALL_BYTES]].concat();
            fs::write(path.join(number.to_string()), &content[..SMALL_BYTES])?;
        }
        Self::new(format!("{files} files of 4 KiB"), files, "files/s", path, folder)
    }

    fn new(
        name: String,
        amount: usize,
        unit: &'static str,
        path: PathBuf,
        folder: &Path,
    ) -> Result<Self, Error> {
        let amount = f64::from(u32::try_from(amount)?);
        Ok(Self { name, amount, unit, path, inbox: folder.join("inbox") })
    }

    /// Its name where it arrives.
    pub(crate) fn arrived(&self) -> PathBuf {
        self.inbox.join(self.path.file_name().unwrap_or_default())
    }

    /// Says whether all of it is there.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if !self.path.is_dir() {
            same(&self.path, &self.arrived())
        } else {
            let (sent, arrived) = (fs::read_dir(&self.path)?, fs::read_dir(self.arrived())?);
            let (sent, arrived) = (sent.count(), arrived.count());
            if sent != arrived {
                return Err(format!("{arrived} of {sent} files arrived").into());
            }
            for entry in fs::read_dir(&self.path)? {
                let entry = entry?;
                same(&entry.path(), &self.arrived().join(entry.file_name()))?;
            }
            Ok(())
        }
    }
}

fn same(sent: &Path, arrived: &Path) -> Result<(), Error> {
    let differs = || format!("{} is not what was sent", arrived.display());
    let open = |path: &Path| -> io::Result<(File, u64)> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        Ok((file, len))
    };
    let ((mut sent, length), (mut arrived, arrived_length)) = (open(sent)?, open(arrived)?);
    if length != arrived_length {
        return Err(differs().into());
    }
    let (mut ours, mut theirs) = (vec![0; MIB], vec![0; MIB]);
    let mut left = length;
    while left > 0 {
        let piece = usize::try_from(left).unwrap_or(MIB).min(MIB);
        sent.read_exact(&mut ours[..piece])?;
        arrived.read_exact(&mut theirs[..piece])?;
        if ours[..piece] != theirs[..piece] {
            return Err(differs().into());
        }
        left -= piece as u64;
    }
    Ok(())
}
