//! The salt of a run's masks, kept while the run lasts: a secret has one mask in all
//! files of a run, also after the agent was restarted. It is in a file of its own that
//! only root reads, and in no database: who has both could try out secrets.

use std::fs::File;
use std::io::{self, Write};

use anyhow::Result;
use rustix::fs::{Mode, OFlags};

use super::Outbox;

const NAME: &str = "salt";

/// A salt for masks.
pub(crate) type Salt = [u8; 16];

impl Outbox {
    /// The salt of a run: the one that is kept, else one that `make` makes, which is
    /// kept from here on instead of the one of the run before.
    ///
    /// # Errors
    ///
    /// If none can be made. One that cannot be kept is told to the log and used.
    pub(crate) fn salt(&self, run_id: &str, make: impl FnOnce() -> Result<Salt>) -> Result<Salt> {
        let path = self.folder.join(NAME);
        let kept = std::fs::read_to_string(&path).ok();
        if let Some(salt) = kept.and_then(|text| parse(&text, run_id)) {
            return Ok(salt);
        }
        let salt = make()?;
        if let Err(error) = self.keep(run_id, &salt) {
            let path = path.display();
            tracing::warn!(
                "after a restart a secret has another mask: cannot keep {path}: {error}"
            );
        }
        Ok(salt)
    }

    fn keep(&self, run_id: &str, salt: &Salt) -> io::Result<()> {
        let (path, next) = (self.folder.join(NAME), self.folder.join("salt.next"));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::open(&next, flags, Mode::RUSR | Mode::WUSR)?);
        write!(file, "{:032x}\n{run_id}\n", u128::from_be_bytes(*salt))?;
        file.sync_all()?;
        std::fs::rename(&next, &path)
    }
}

/// The salt that is kept for a run; `None` if that is another run's, or damaged.
fn parse(text: &str, run_id: &str) -> Option<Salt> {
    let (hex, of_run) = text.strip_suffix('\n')?.split_once('\n')?;
    let is_hex = hex.len() == 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = u128::from_str_radix(hex, 16).ok().filter(|_| is_hex && of_run == run_id)?;
    Some(number.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use anyhow::bail;

    use super::*;

    #[test]
    fn a_run_keeps_its_salt_and_the_next_has_another() {
        let folder = tempfile::tempdir().unwrap();
        let never = || bail!("there is one");
        let first = {
            let outbox = Outbox::open(folder.path()).unwrap();
            outbox.salt("a run", || Ok([7; 16])).unwrap()
        };
        let outbox = Outbox::open(folder.path()).unwrap();
        assert_eq!(outbox.salt("a run", never).unwrap(), first);
        let mode = folder.path().join("salt").metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(outbox.salt("another", || Ok([8; 16])).unwrap(), [8; 16]);
        assert_eq!(outbox.salt("a run", || Ok([9; 16])).unwrap(), [9; 16], "not kept any more");
        for damaged in ["", "07\na run\n", &"7".repeat(32), &format!("{}\na run", "+".repeat(32))] {
            std::fs::write(folder.path().join("salt"), damaged).unwrap();
            assert_eq!(outbox.salt("a run", || Ok([1; 16])).unwrap(), [1; 16], "{damaged:?}");
        }
    }
}
