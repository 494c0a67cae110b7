//! Files that hold documents: read within bounds, and told apart by what they are.

use bimetal_core::doc::node::MAX_BYTES;
use std::fmt;
use std::fs::{File, Metadata, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Why a file cannot be used, and what to do about it. Each names the file.
#[derive(Debug)]
pub enum ReadError {
    /// There is none of that name.
    Missing(PathBuf),
    /// It is a directory, a pipe, a device or a socket; the text says which.
    NoFile(PathBuf, &'static str),
    /// The system does not let us.
    Unreadable(PathBuf, io::Error),
    /// It is longer than 4 MiB.
    TooLong(PathBuf),
    /// It is not UTF-8, from that byte on.
    NotText(PathBuf, usize),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(file) => {
                write!(f, "{}: no such file; check the path", file.display())
            }
            Self::NoFile(file, what) => {
                let advice = if *what == "a directory" { "a file in it" } else { "a plain file" };
                write!(f, "{}: is {what}; name {advice}", file.display())
            }
            Self::Unreadable(file, why) if why.kind() == io::ErrorKind::PermissionDenied => {
                write!(f, "{}: no permission to read it; check owner and mode", file.display())
            }
            Self::Unreadable(file, why) => write!(f, "{}: cannot be read: {why}", file.display()),
            Self::TooLong(file) => {
                write!(f, "{}: is longer than 4 MiB; is it the right file?", file.display())
            }
            Self::NotText(file, at) => {
                write!(f, "{}: byte {at} is not UTF-8; save the file as UTF-8 text", file.display())
            }
        }
    }
}

impl std::error::Error for ReadError {}

/// What tells a file from what was there before, without reading it. The time of the last change
/// of its owner or mode is in it: a file that could not be read is tried again when that is mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    place: (u64, u64),
    size: u64,
    written: (i64, i64),
    changed: (i64, i64),
}

impl Look {
    /// A look at a file, also across links; none where there is no file.
    pub(crate) fn at(file: &Path) -> Option<Self> {
        std::fs::metadata(file).ok().map(|data| Self::of(&data))
    }

    fn of(data: &Metadata) -> Self {
        Self {
            place: (data.dev(), data.ino()),
            size: data.len(),
            written: (data.mtime(), data.mtime_nsec()),
            changed: (data.ctime(), data.ctime_nsec()),
        }
    }
}

/// What a file holds.
#[derive(Debug)]
pub(crate) struct Source {
    /// Its text.
    pub text: String,
    /// The file as it was when it was read; none for standard input.
    pub look: Option<Look>,
}

impl Source {
    /// Reads a file; `-` is standard input.
    ///
    /// # Errors
    /// [`ReadError`]
    pub(crate) fn read(file: &Path) -> Result<Self, ReadError> {
        let unreadable = |why| ReadError::Unreadable(file.into(), why);
        let (bytes, look) = if file.as_os_str() == "-" {
            (limited(io::stdin().lock()).map_err(unreadable)?, None)
        } else {
            let opened = open(file)?;
            let look = Look::of(&opened.metadata().map_err(unreadable)?);
            (limited(opened).map_err(unreadable)?, Some(look))
        };
        if bytes.len() > MAX_BYTES {
            return Err(ReadError::TooLong(file.into()));
        }
        let text = String::from_utf8(bytes)
            .map_err(|error| ReadError::NotText(file.into(), error.utf8_error().valid_up_to()))?;
        Ok(Self { text, look })
    }

    /// Equal for equal texts; only within one process.
    pub(crate) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.text.hash(&mut hasher);
        hasher.finish()
    }
}

/// Opens what is a file. Nobody may be at the other end of a named pipe, and a device may have no
/// end: neither is waited for.
fn open(file: &Path) -> Result<File, ReadError> {
    let failed = |why: io::Error| match why.kind() {
        io::ErrorKind::NotFound => ReadError::Missing(file.into()),
        _ => ReadError::Unreadable(file.into(), why),
    };
    // A shell's `<(command)`: somebody writes, and ends.
    let is_handed_over = file.starts_with("/dev/fd") || file.starts_with("/proc/self/fd");
    let is_wanted = |data: &Metadata| {
        let kind = data.file_type();
        let what = if kind.is_dir() {
            "a directory"
        } else if kind.is_fifo() && !is_handed_over {
            "a named pipe"
        } else if kind.is_char_device() || kind.is_block_device() {
            "a device"
        } else if kind.is_socket() {
            "a socket"
        } else {
            return Ok(());
        };
        Err(ReadError::NoFile(file.into(), what))
    };
    is_wanted(&std::fs::metadata(file).map_err(failed)?)?;
    let mut options = OpenOptions::new();
    if !is_handed_over {
        // It may be another by now.
        let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        options.custom_flags(flags);
    }
    let opened = options.read(true).open(file).map_err(failed)?;
    is_wanted(&opened.metadata().map_err(failed)?)?;
    Ok(opened)
}

/// One byte more than is allowed, so that too long can be told from long.
fn limited(from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::{Look, MAX_BYTES, ReadError, Source};
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use std::io::{Error, ErrorKind, Write};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixListener;
    use std::path::{Path, PathBuf};

    /// A path of its own; what is there is removed when the test ends.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let own = format!("bimetal-source-{}-{name}", std::process::id());
            Self(std::env::temp_dir().join(own))
        }

        fn write(&self, text: &[u8]) {
            std::fs::write(&self.0, text).unwrap();
        }

        fn read(&self) -> Result<Source, ReadError> {
            Source::read(&self.0)
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            // Left behind, it harms nobody.
            let _ = std::fs::remove_file(&self.0);
        }
    }

    #[test]
    fn an_error_says_what_to_do() {
        let file = || PathBuf::from("a.yaml");
        for (error, told) in [
            (ReadError::Missing(file()), "no such file; check the path"),
            (ReadError::NoFile(file(), "a directory"), "is a directory; name a file in it"),
            (ReadError::NoFile(file(), "a device"), "is a device; name a plain file"),
            (
                ReadError::Unreadable(file(), ErrorKind::PermissionDenied.into()),
                "no permission to read it; check owner and mode",
            ),
            (ReadError::Unreadable(file(), Error::other("worn")), "cannot be read: worn"),
            (ReadError::TooLong(file()), "is longer than 4 MiB; is it the right file?"),
            (ReadError::NotText(file(), 9), "byte 9 is not UTF-8; save the file as UTF-8 text"),
        ] {
            assert_eq!(error.to_string(), format!("a.yaml: {told}"));
        }
    }

    #[test]
    fn what_is_no_file_is_not_opened() {
        let (pipe, socket) = (Place::new("pipe"), Place::new("socket"));
        mknodat(CWD, &pipe.0, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let _listener = UnixListener::bind(&socket.0).unwrap();
        for (path, wanted) in [
            (pipe.0.as_path(), "a named pipe"),
            (&socket.0, "a socket"),
            (Path::new("/dev/null"), "a device"),
            (Path::new("/"), "a directory"),
        ] {
            match Source::read(path) {
                Err(ReadError::NoFile(_, what)) => assert_eq!(what, wanted),
                other => panic!("{}: {other:?}", path.display()),
            }
        }
        let none = Place::new("none").read();
        assert!(matches!(none, Err(ReadError::Missing(_))), "{none:?}");
        let below = Source::read(&socket.0.join("below"));
        assert!(matches!(below, Err(ReadError::Unreadable(..))), "{below:?}");
    }

    #[test]
    fn a_pipe_that_a_shell_hands_over_is_read_to_its_end() {
        // More than a pipe holds: the reader waits for the writer.
        let text = "# a line\n".repeat(100_000);
        for folder in ["/dev/fd", "/proc/self/fd"] {
            let (reader, mut writer) = std::io::pipe().unwrap();
            let path = format!("{folder}/{}", reader.as_raw_fd());
            let read = std::thread::scope(|scope| {
                scope.spawn(|| {
                    let _ = writer.write_all(text.as_bytes());
                    drop(writer);
                });
                let read = Source::read(Path::new(&path));
                // Whoever writes more than was read must not wait.
                drop(reader);
                read
            });
            assert!(read.is_ok_and(|source| source.text == text), "{folder}");
        }
    }

    #[test]
    fn the_longest_file_is_read_and_a_longer_one_is_not() {
        let place = Place::new("long");
        place.write(&vec![b'#'; MAX_BYTES]);
        assert_eq!(place.read().unwrap().text.len(), MAX_BYTES);
        place.write(&vec![b'#'; MAX_BYTES + 1]);
        assert!(matches!(place.read(), Err(ReadError::TooLong(_))));
    }

    #[test]
    fn another_file_or_text_looks_otherwise() {
        let (one, other) = (Place::new("one"), Place::new("other"));
        assert_eq!(Look::at(&one.0), None);
        one.write(b"a: 1");
        other.write(b"a: 2");
        let (first, second) = (one.read().unwrap(), other.read().unwrap());
        assert!(first.look.is_some());
        assert_eq!((first.look, second.look), (Look::at(&one.0), Look::at(&other.0)));
        assert_ne!(first.look, second.look);
        assert_eq!(first.fingerprint(), one.read().unwrap().fingerprint());
        assert_ne!(first.fingerprint(), second.fingerprint());
    }
}
