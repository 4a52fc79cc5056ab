//! The output of a detached machine: two files, `log` and before it `log.1`, so that the latest few megabytes are kept
//! whatever a program writes.
//!
//! A record is a byte for the stream (1 or 2), the length of what follows (32 bits, little-endian), and that.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

const LOG: &str = "log";
const BEFORE: &str = "log.1";
/// One file takes so much.
const SIZE: u64 = 4 << 20;
/// What comes before the bytes of a record.
const HEADER: usize = 5;

/// A log that is written.
struct Log {
    dir: PathBuf,
    file: File,
    size: u64,
}

/// One stream of the program's, into its log.
#[derive(Clone)]
pub(crate) struct Stream {
    log: Arc<Mutex<Log>>,
    number: u8,
}

/// Standard output and standard error of a machine, whose directory is `dir`.
pub(crate) fn create(dir: &Path) -> io::Result<[Stream; 2]> {
    let log = Log {
        dir: dir.to_owned(),
        file: File::create(dir.join(LOG))?,
        size: 0,
    };
    let log = Arc::new(Mutex::new(log));
    Ok([1, 2].map(|number| Stream {
        log: Arc::clone(&log),
        number,
    }))
}

impl Log {
    fn record(&mut self, stream: u8, bytes: &[u8]) -> io::Result<()> {
        if self.size >= SIZE {
            fs::rename(self.dir.join(LOG), self.dir.join(BEFORE))?;
            self.file = File::create(self.dir.join(LOG))?;
            self.size = 0;
        }
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        let mut record = vec![stream];
        record.extend_from_slice(&length.to_le_bytes());
        record.extend_from_slice(bytes);
        self.file.write_all(&record)?;
        self.size += record.len() as u64;
        Ok(())
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.record(self.number, bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A log that is read, while it may still be written.
pub(super) struct Reader {
    dir: PathBuf,
    file: Option<File>,
    /// The beginning of a record whose end is not written yet.
    begun: Vec<u8>,
}

impl Reader {
    /// From the oldest record there is.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        let file = match open(&dir.join(BEFORE))? {
            None => open(&dir.join(LOG))?,
            before => before,
        };
        Ok(Self {
            dir: dir.to_owned(),
            file,
            begun: Vec::new(),
        })
    }

    /// The next record: the stream's number and what it got. `None` if there is none now.
    pub(super) fn next(&mut self) -> io::Result<Option<(u8, Vec<u8>)>> {
        loop {
            if let Some(record) = self.record()? {
                return Ok(Some(record));
            }
            let latest = open(&self.dir.join(LOG))?;
            if inode(latest.as_ref())? == inode(self.file.as_ref())? {
                return Ok(None);
            }
            // Now that there is another file, nothing is added to this one; but something may have been before.
            if let Some(record) = self.record()? {
                return Ok(Some(record));
            }
            self.file = latest;
            self.begun.clear();
        }
    }

    /// The next record of the file.
    fn record(&mut self) -> io::Result<Option<(u8, Vec<u8>)>> {
        if !self.fill(HEADER)? {
            return Ok(None);
        }
        let [stream, a, b, c, d] = self.begun[..HEADER] else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_le_bytes([a, b, c, d])).map_err(io::Error::other)?;
        if !self.fill(HEADER + length)? {
            return Ok(None);
        }
        let bytes = self.begun.split_off(HEADER);
        self.begun.clear();
        Ok(Some((stream, bytes)))
    }

    /// Has the record's beginning be of this length; whether there was as much.
    fn fill(&mut self, length: usize) -> io::Result<bool> {
        if let Some(file) = &mut self.file {
            let missing = length.saturating_sub(self.begun.len());
            file.take(missing as u64).read_to_end(&mut self.begun)?;
        }
        Ok(self.begun.len() >= length)
    }
}

/// A file, if it is there.
fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        file => file.map(Some),
    }
}

fn inode(file: Option<&File>) -> io::Result<Option<u64>> {
    file.map(|file| Ok(file.metadata()?.ino())).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_written() {
        let dir = tempfile::tempdir().unwrap();
        let [mut out, mut err] = create(dir.path()).unwrap();
        let mut reader = Reader::open(dir.path()).unwrap();
        assert_eq!(reader.next().unwrap(), None);
        out.write_all(b"one").unwrap();
        err.write_all(b"two").unwrap();
        assert_eq!(reader.next().unwrap(), Some((1, b"one".to_vec())));
        assert_eq!(reader.next().unwrap(), Some((2, b"two".to_vec())));
        assert_eq!(reader.next().unwrap(), None);
    }

    #[test]
    fn the_latest_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let [mut out, _] = create(dir.path()).unwrap();
        let mut follower = Reader::open(dir.path()).unwrap();
        let mut followed = 0;
        let piece = 128 << 10;
        let count = (5 * SIZE) as usize / piece;
        for number in 0..count {
            out.write_all(&vec![number as u8; piece]).unwrap();
            // The first piece is read late, when its file is not the latest any more.
            while number > 35
                && let Some((_, bytes)) = follower.next().unwrap()
            {
                assert_eq!(bytes[0], followed as u8);
                followed += 1;
            }
        }
        assert_eq!(followed, count);
        let mut reader = Reader::open(dir.path()).unwrap();
        let mut kept = Vec::new();
        while let Some((_, bytes)) = reader.next().unwrap() {
            kept.push(bytes[0]);
        }
        assert_eq!(kept.last(), Some(&((count - 1) as u8)));
        assert!((32..=66).contains(&kept.len()), "{}", kept.len());
        assert!(kept.is_sorted());
    }
}
