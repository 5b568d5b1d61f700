//! [`Source`]: the members of an image archive by name, from a directory, a tar file that can be read at any place, or
//! a stream that is read once and staged.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::change::Change;
use super::decompress::{Compression, Decompressor, compression_of};
use super::error::{Error, Result};
use super::limits::{MAX_DOCUMENT, MAX_MEMBERS, MAX_SYMLINKS};
use super::pipeline::hash_only;
use super::progress::Progress;
use super::store::read_limited;
use super::tarball::{Kind, Tarball, shown};

/// An opened archive.
pub(crate) enum Source {
    /// An OCI layout as a directory.
    Directory(OwnedFd),
    /// The same, and what is in it may be linked into the store.
    Linked(OwnedFd),
    /// An uncompressed tar file: where each member's data lies.
    Indexed(File, BTreeMap<Vec<u8>, Member>),
    /// A compressed or unseekable archive: its members are files in staging.
    Staged(BTreeMap<Vec<u8>, Member>),
}

/// One member of a tar archive.
pub(crate) enum Member {
    At { offset: u64, size: u64 },
    Staged { name: String },
    Link(Vec<u8>),
}

/// A member to be read.
pub(crate) enum Blob<'a> {
    File(File),
    Range(Range<'a>),
    /// Already in staging, by name.
    Staged(String),
}

impl Source {
    /// Finds out what the archive is. `input` is a directory or a file open for reading.
    pub(crate) fn open(input: OwnedFd, change: &mut Change<'_>, progress: &Progress) -> Result<Self> {
        let stat = rustix::fs::fstat(&input).map_err(|e| Error::io("reading", e))?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        progress.begin(u64::try_from(stat.st_size).unwrap_or(0));
        if kind == FileType::Directory {
            return Ok(Self::Directory(input));
        }
        let mut file = File::from(input);
        if kind != FileType::RegularFile {
            return Self::stage(file, change, progress);
        }
        let mut first = [0_u8; 8];
        let length = file.read_at(&mut first, 0).map_err(|e| Error::io("reading", e))?;
        if length == 0 {
            return Err(Error::Corrupt("the file is empty".into()));
        }
        if compression_of(first.get(..length).unwrap_or_default()) != Compression::Plain {
            return Self::stage(file, change, progress);
        }
        file.seek(SeekFrom::Start(0)).map_err(|e| Error::io("reading", e))?;
        Self::index(file)
    }

    /// Reads only the headers.
    fn index(file: File) -> Result<Self> {
        let size = file.metadata().map_err(|e| Error::io("reading", e))?.len();
        let mut members = BTreeMap::new();
        let mut reader = &file;
        let mut tarball = Tarball::new(&mut reader);
        while let Some(entry) = tarball.next_entry()? {
            let offset = tarball.position();
            match entry.kind {
                Kind::File => {
                    if offset.saturating_add(entry.stored) > size {
                        return Err(Error::Corrupt(format!(
                            "the archive is truncated in its member {}",
                            entry.shown()
                        )));
                    }
                    if entry.sparse.is_some() {
                        return Err(Error::Unsupported(format!(
                            "the archive's member {} is a sparse file",
                            entry.shown()
                        )));
                    }
                    add(&mut members, &entry.path, Member::At { offset, size: entry.stored })?;
                }
                Kind::Symlink | Kind::HardLink => {
                    let target = link_target(&entry.path, &entry.link, entry.kind);
                    add(&mut members, &entry.path, Member::Link(target))?;
                }
                _ => {}
            }
            let pending =
                i64::try_from(tarball.pending()).map_err(|_| Error::Corrupt("an impossible member size".into()))?;
            (&file).seek(SeekFrom::Current(pending)).map_err(|e| Error::io("reading", e))?;
            tarball.skipped();
        }
        Ok(Self::Indexed(file, members))
    }

    /// Reads the stream once; every member becomes a file in staging, hashed on its way.
    fn stage(file: File, change: &mut Change<'_>, progress: &Progress) -> Result<Self> {
        let stream_error = |e: io::Error| match e.raw_os_error() {
            Some(_) => Error::io("reading", e),
            None => Error::Corrupt(e.to_string()),
        };
        let silent = Progress::new(None);
        let mut told = Told { source: file, progress };
        let mut plain = Decompressor::new(&mut told).map_err(stream_error)?;
        let mut tarball = Tarball::new(&mut plain);
        let mut members = BTreeMap::new();
        while let Some(entry) = tarball.next_entry().map_err(stream_cause)? {
            match entry.kind {
                Kind::File if entry.sparse.is_none() => {
                    let (name, staged) = change.stage_file()?;
                    hash_only(&mut tarball, Some(staged), &silent, "")
                        .map_err(|e| stream_cause(e).within(format!("member {}", entry.shown())))?;
                    add(&mut members, &entry.path, Member::Staged { name })?;
                }
                Kind::File => {
                    return Err(Error::Unsupported(format!("the archive's member {} is a sparse file", entry.shown())));
                }
                Kind::Symlink | Kind::HardLink => {
                    let target = link_target(&entry.path, &entry.link, entry.kind);
                    add(&mut members, &entry.path, Member::Link(target))?;
                }
                _ => {}
            }
        }
        Ok(Self::Staged(members))
    }

    /// A member by its path; none if it is not there.
    pub(crate) fn blob(&self, path: &str) -> Result<Option<Blob<'_>>> {
        match self {
            Self::Directory(dir) | Self::Linked(dir) => {
                let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
                let opened = match rustix::fs::openat2(dir, path, flags, Mode::empty(), ResolveFlags::BENEATH) {
                    // Linux before 5.6. Only fixed names and digests are asked for, so nothing in `path` leads outside.
                    Err(Errno::NOSYS | Errno::PERM) => {
                        rustix::fs::openat(dir, path, flags | OFlags::NOFOLLOW, Mode::empty())
                    }
                    opened => opened,
                };
                let file = match opened {
                    Ok(fd) => File::from(fd),
                    Err(Errno::NOENT) => return Ok(None),
                    Err(error) => return Err(Error::io(format!("opening {path}"), error)),
                };
                let data = file.metadata().map_err(|e| Error::io(format!("reading {path}"), e))?;
                if !data.is_file() {
                    return Err(Error::Corrupt(format!("{path} is not a regular file")));
                }
                Ok(Some(Blob::File(file)))
            }
            Self::Indexed(_, members) | Self::Staged(members) => {
                let mut name = clean(path.as_bytes());
                for _ in 0..MAX_SYMLINKS {
                    match (members.get(&name), self) {
                        (Some(Member::Link(target)), _) => name.clone_from(target),
                        (Some(Member::At { offset, size }), Self::Indexed(file, _)) => {
                            return Ok(Some(Blob::Range(Range { file, at: *offset, left: *size })));
                        }
                        (Some(Member::Staged { name }), _) => {
                            return Ok(Some(Blob::Staged(name.clone())));
                        }
                        (None | Some(Member::At { .. }), _) => return Ok(None),
                    }
                }
                Err(Error::Corrupt(format!("{path} is a link that leads in a circle")))
            }
        }
    }

    /// Links a member into staging; none if that is not done with this source, or it is not there.
    pub(crate) fn link(&self, path: &str, change: &mut Change<'_>) -> Result<Option<String>> {
        match self {
            Self::Linked(dir) => change.link_file(dir.as_fd(), path),
            _ => Ok(None),
        }
    }

    /// A small document; none if it is not there.
    pub(crate) fn document(&self, path: &str, change: &Change<'_>) -> Result<Option<Vec<u8>>> {
        let bytes = match self.blob(path)? {
            None => return Ok(None),
            Some(Blob::File(file)) => read_limited(file, MAX_DOCUMENT),
            Some(Blob::Range(range)) => read_limited(range, MAX_DOCUMENT),
            Some(Blob::Staged(name)) => read_limited(change.open_staged(&name)?, MAX_DOCUMENT),
        };
        bytes.map(Some).map_err(|e| e.within(path.to_owned()))
    }
}

/// A part of a file, read with pread(2).
pub(crate) struct Range<'a> {
    file: &'a File,
    at: u64,
    left: u64,
}

impl<'a> Range<'a> {
    /// The file it is a part of.
    pub(crate) fn file(&self) -> &'a File {
        self.file
    }

    /// Where the rest of it begins.
    pub(crate) fn position(&self) -> u64 {
        self.at
    }
}

impl Read for Range<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let length = self.file.read_at(buffer.get_mut(..most).unwrap_or_default(), self.at)?;
        if length == 0 && most > 0 {
            return Err(io::Error::other("the archive is truncated"));
        }
        self.at = self.at.saturating_add(length as u64);
        self.left = self.left.saturating_sub(length as u64);
        Ok(length)
    }
}

/// Tells the progress of the outer stream.
struct Told<'a> {
    source: File,
    progress: &'a Progress,
}

impl Read for Told<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.source.read(buffer)?;
        self.progress.add(length as u64, "reading the archive");
        Ok(length)
    }
}

/// A decoder's message inside a read error is about the data, not about the disk.
fn stream_cause(error: Error) -> Error {
    match error {
        Error::Io { source, .. } if source.raw_os_error().is_none() => {
            let text = source.to_string();
            if text.contains("bomb") || text.contains("window") { Error::Limit(text) } else { Error::Corrupt(text) }
        }
        other => other,
    }
}

fn add(members: &mut BTreeMap<Vec<u8>, Member>, path: &[u8], member: Member) -> Result<()> {
    if members.len() >= MAX_MEMBERS {
        return Err(Error::Limit(format!("the archive has more than {MAX_MEMBERS} members")));
    }
    if path.split(|b| *b == b'/').any(|part| part == b"..") {
        return Err(Error::Unsafe(format!("the archive's member {} has `..` in its path", shown(path))));
    }
    members.insert(clean(path), member);
    Ok(())
}

/// Docker's old archives link repeated layers: `../<id>/layer.tar`.
fn link_target(path: &[u8], link: &[u8], kind: Kind) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    if kind == Kind::Symlink && !link.starts_with(b"/") {
        parts.extend(path.split(|b| *b == b'/'));
        parts.pop();
    }
    for part in link.split(|b| *b == b'/') {
        if part == b".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    clean(&parts.join(&b'/'))
}

fn clean(path: &[u8]) -> Vec<u8> {
    let parts: Vec<&[u8]> = path.split(|b| *b == b'/').filter(|part| !matches!(*part, b"" | b".")).collect();
    parts.join(&b'/')
}

/// Whether an open archive is a directory, for messages.
pub(crate) fn is_directory(fd: impl AsFd) -> bool {
    rustix::fs::fstat(fd).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}
