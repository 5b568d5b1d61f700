//! [`Tarball`]: the entries of a tar stream (ustar, PAX, GNU long names and sparse files), with every header bounded.
//!
//! The `tar` crate decodes the single header block; joining extension headers is done here because the crate keeps
//! extension headers of any size in memory and does not know PAX sparse files.

use std::io::{self, Read};

use tar::{EntryType, GnuExtSparseHeader, Header, PaxExtensions};

use super::error::{Error, Result};
use super::limits::{MAX_PATH, MAX_PAX, MAX_SPARSE_REGIONS};

/// What an entry makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    HardLink,
    Symlink,
    CharDevice,
    BlockDevice,
    Directory,
    Fifo,
    /// Something this format does not define; the type byte.
    Other(u8),
}

/// One entry with all its extension headers applied.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// As written in the archive.
    pub(crate) path: Vec<u8>,
    /// Target of a link.
    pub(crate) link: Vec<u8>,
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    /// Seconds and nanoseconds.
    pub(crate) mtime: (i64, u32),
    /// Bytes of data that follow in the archive.
    pub(crate) stored: u64,
    /// Major and minor number.
    pub(crate) device: (u32, u32),
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Size and data regions (offset, length) of a sparse file.
    pub(crate) sparse: Option<Sparse>,
}

impl Entry {
    /// The size of the file it makes.
    pub(crate) fn size(&self) -> u64 {
        self.sparse.as_ref().map_or(self.stored, |sparse| sparse.size)
    }

    /// The path for messages.
    pub(crate) fn shown(&self) -> String {
        shown(&self.path)
    }
}

/// A sparse file: its size and where its data lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sparse {
    pub(crate) size: u64,
    pub(crate) regions: Vec<(u64, u64)>,
}

/// A path from an archive for messages: printable and short.
pub(crate) fn shown(path: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(path).chars().flat_map(char::escape_debug).take(200).collect();
    format!("`{text}`")
}

/// Reads entry after entry; between two calls of [`Tarball::next_entry`], the entry's data with [`Read`].
pub(crate) struct Tarball<'a> {
    source: &'a mut dyn Read,
    /// Bytes read of the stream.
    position: u64,
    /// Data bytes of the current entry that are still to come.
    left: u64,
    /// Padding behind them.
    padding: u64,
}

const BLOCK: u64 = 512;

impl<'a> Tarball<'a> {
    pub(crate) fn new(source: &'a mut dyn Read) -> Self {
        Self { source, position: 0, left: 0, padding: 0 }
    }

    /// Offset in the stream of the next unread byte.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Bytes up to the next header.
    pub(crate) fn pending(&self) -> u64 {
        self.left.saturating_add(self.padding)
    }

    /// The caller has moved the stream over the [`Tarball::pending`] bytes, to the next header.
    pub(crate) fn skipped(&mut self) {
        self.position = self.position.saturating_add(self.pending());
        self.left = 0;
        self.padding = 0;
    }

    /// The next entry, or none at the end mark or the end of the stream.
    pub(crate) fn next_entry(&mut self) -> Result<Option<Entry>> {
        let mut long_path = None;
        let mut long_link = None;
        let mut pax = None;
        loop {
            self.skip_rest()?;
            let Some(header) = self.header()? else {
                if long_path.is_some() || long_link.is_some() || pax.is_some() {
                    return Err(self.bad("ends after an extension header"));
                }
                return Ok(None);
            };
            let kind = header.entry_type();
            match kind {
                EntryType::GNULongName => long_path = Some(self.long_name(&header)?),
                EntryType::GNULongLink => long_link = Some(self.long_name(&header)?),
                EntryType::XHeader => pax = Some(self.extension(&header, MAX_PAX, "PAX header")?),
                EntryType::XGlobalHeader => {
                    self.extension(&header, MAX_PAX, "global PAX header")?;
                }
                _ => {
                    let mut entry = self.plain_entry(&header)?;
                    if let Some(path) = long_path {
                        entry.path = path;
                    }
                    if let Some(link) = long_link {
                        entry.link = link;
                    }
                    if let Some(pax) = pax {
                        self.apply_pax(&mut entry, &pax)?;
                    }
                    self.finish_entry(&header, &mut entry)?;
                    return Ok(Some(entry));
                }
            }
        }
    }

    /// One header block, checked; none at the end mark or the end of the stream.
    fn header(&mut self) -> Result<Option<Header>> {
        let mut header = Header::new_old();
        let mut zeros = 0_u8;
        loop {
            let mut filled = 0;
            let block = header.as_mut_bytes();
            while let Some(rest) = block.get_mut(filled..).filter(|rest| !rest.is_empty()) {
                match self.source.read(rest) {
                    Ok(0) if filled == 0 => return Ok(None),
                    Ok(0) => return Err(self.bad("is truncated in a header")),
                    Ok(length) => filled = filled.saturating_add(length),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(Error::io("reading", error)),
                }
            }
            self.position = self.position.saturating_add(BLOCK);
            if block.iter().any(|b| *b != 0) {
                break;
            }
            zeros = zeros.saturating_add(1);
            if zeros == 2 {
                return Ok(None);
            }
        }
        let bytes = header.as_bytes();
        let (unsigned, signed) = bytes.iter().enumerate().fold((0_u32, 0_i64), |(u, s), (i, b)| {
            let b = if (148..156).contains(&i) { b' ' } else { *b };
            (u.saturating_add(u32::from(b)), s.saturating_add(i64::from(b.cast_signed())))
        });
        match header.cksum() {
            Ok(sum) if sum == unsigned || i64::from(sum) == signed => Ok(Some(header)),
            _ => Err(self.bad("has a header with a wrong checksum (damaged, or not a tar archive)")),
        }
    }

    fn plain_entry(&mut self, header: &Header) -> Result<Entry> {
        let number = |field: &str, value: io::Result<u64>| {
            value.map_err(|_| self.bad(&format!("has a header whose {field} is not a number")))
        };
        let path = header.path_bytes().into_owned();
        let kind = match header.entry_type() {
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse if path.ends_with(b"/") => {
                Kind::Directory
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => Kind::File,
            EntryType::Link => Kind::HardLink,
            EntryType::Symlink => Kind::Symlink,
            EntryType::Char => Kind::CharDevice,
            EntryType::Block => Kind::BlockDevice,
            EntryType::Directory => Kind::Directory,
            EntryType::Fifo => Kind::Fifo,
            other => Kind::Other(other.as_byte()),
        };
        let device = if matches!(kind, Kind::CharDevice | Kind::BlockDevice) {
            let part = |value: io::Result<Option<u32>>| value.ok().flatten();
            match (part(header.device_major()), part(header.device_minor())) {
                (Some(major), Some(minor)) => (major, minor),
                _ => return Err(self.bad("has a device entry without numbers")),
            }
        } else {
            (0, 0)
        };
        Ok(Entry {
            link: header.link_name_bytes().map(std::borrow::Cow::into_owned).unwrap_or_default(),
            kind,
            mode: header.mode().map_err(|_| self.bad("has a header whose mode is not a number"))? & 0o7777,
            uid: number("uid", header.uid())?,
            gid: number("gid", header.gid())?,
            mtime: (i64::try_from(header.mtime().unwrap_or(0)).unwrap_or(0), 0),
            stored: number("size", header.entry_size())?,
            device,
            xattrs: Vec::new(),
            sparse: None,
            path,
        })
    }

    fn apply_pax(&self, entry: &mut Entry, pax: &[u8]) -> Result<()> {
        let mut sparse = PaxSparse::default();
        for record in PaxExtensions::new(pax) {
            let record = record.map_err(|_| self.bad("has a damaged PAX header"))?;
            let (key, value) = (record.key_bytes(), record.value_bytes());
            let number = || parse_number(value).ok_or_else(|| self.bad("has a PAX header with a damaged number"));
            match key {
                b"path" => entry.path = value.to_vec(),
                b"linkpath" => entry.link = value.to_vec(),
                b"size" => entry.stored = number()?,
                b"uid" => entry.uid = number()?,
                b"gid" => entry.gid = number()?,
                b"mtime" => {
                    entry.mtime = parse_time(value).ok_or_else(|| self.bad("has a PAX header with a damaged time"))?;
                }
                b"GNU.sparse.major" => sparse.version_one = value == b"1",
                b"GNU.sparse.name" => sparse.name = Some(value.to_vec()),
                b"GNU.sparse.realsize" | b"GNU.sparse.size" => sparse.size = Some(number()?),
                b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => sparse.numbers.push(number()?),
                b"GNU.sparse.map" => {
                    for part in value.split(|b| *b == b',') {
                        sparse.numbers.push(parse_number(part).ok_or_else(|| self.bad("has a damaged sparse map"))?);
                    }
                }
                _ => {
                    if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                        entry.xattrs.push((name.to_vec(), value.to_vec()));
                    }
                }
            }
        }
        if let Some(name) = sparse.name {
            entry.path = name;
        }
        if let Some(size) = sparse.size {
            // Version 1.0 keeps its map in front of the data; finish_entry reads it.
            let regions =
                sparse.numbers.chunks_exact(2).filter_map(|pair| Some((*pair.first()?, *pair.last()?))).collect();
            entry.sparse = Some(Sparse { size, regions });
            if sparse.version_one {
                entry.sparse = Some(Sparse { size, regions: vec![(u64::MAX, 0)] });
            }
        }
        Ok(())
    }

    /// Sets up the data that follows and checks what all headers together say.
    fn finish_entry(&mut self, header: &Header, entry: &mut Entry) -> Result<()> {
        for text in [&mut entry.path, &mut entry.link] {
            if let Some(end) = text.iter().position(|b| *b == 0) {
                text.truncate(end);
            }
            if text.len() > MAX_PATH {
                return Err(Error::Limit(format!("{}: the path is longer than {MAX_PATH} bytes", shown(text))));
            }
        }
        // Links, devices and directories have no data whatever the size field says (as in Go's archive/tar).
        if !matches!(entry.kind, Kind::File | Kind::Other(_)) {
            entry.stored = 0;
        }
        if header.entry_type() == EntryType::GNUSparse {
            entry.sparse = Some(self.gnu_sparse(header)?);
        }
        self.expect_data(entry.stored)?;
        if let Some(sparse) = &mut entry.sparse {
            if sparse.regions.first() == Some(&(u64::MAX, 0)) {
                sparse.regions = self.sparse_map_in_data()?;
                entry.stored = self.left;
            }
            let mut end = 0_u64;
            let mut data = 0_u64;
            for (offset, length) in &sparse.regions {
                let next = offset.checked_add(*length).filter(|next| *offset >= end && *next <= sparse.size);
                end =
                    next.ok_or_else(|| Error::Corrupt(format!("{}: its sparse map is damaged", shown(&entry.path))))?;
                data = data.saturating_add(*length);
            }
            if data != entry.stored {
                return Err(Error::Corrupt(format!("{}: its sparse map does not match its data", shown(&entry.path))));
            }
        }
        Ok(())
    }

    fn gnu_sparse(&mut self, header: &Header) -> Result<Sparse> {
        let Some(gnu) = header.as_gnu() else { return Err(self.bad("has a sparse entry without a GNU header")) };
        let damaged = |this: &Self| this.bad("has a sparse entry with a damaged map");
        let mut regions = Vec::new();
        let mut add = |this: &Self, block: &tar::GnuSparseHeader| {
            if !block.is_empty() {
                let region = block.offset().and_then(|offset| Ok((offset, block.length()?)));
                regions.push(region.map_err(|_| damaged(this))?);
            }
            if regions.len() > MAX_SPARSE_REGIONS {
                return Err(Error::Limit(format!("a sparse file has more than {MAX_SPARSE_REGIONS} regions")));
            }
            Ok(())
        };
        for block in &gnu.sparse {
            add(self, block)?;
        }
        let mut extended = gnu.is_extended();
        while extended {
            let mut more = GnuExtSparseHeader::new();
            self.source.read_exact(more.as_mut_bytes()).map_err(|e| self.read_failed(e))?;
            self.position = self.position.saturating_add(BLOCK);
            for block in more.sparse() {
                add(self, block)?;
            }
            extended = more.is_extended();
        }
        let size = gnu.real_size().map_err(|_| damaged(self))?;
        Ok(Sparse { size, regions })
    }

    /// PAX sparse 1.0: decimal lines (count, then offset and length of each) in whole blocks in front of the data.
    fn sparse_map_in_data(&mut self) -> Result<Vec<(u64, u64)>> {
        let mut numbers: Vec<u64> = Vec::new();
        let mut wanted = 1_usize;
        let mut digits = Vec::new();
        while numbers.len() < wanted {
            let mut block = [0_u8; 512];
            self.read_exact(&mut block).map_err(|e| self.read_failed(e))?;
            for byte in block {
                if numbers.len() >= wanted {
                    break;
                }
                if byte != b'\n' {
                    if digits.len() >= 20 {
                        return Err(self.bad("has a sparse file with a damaged map"));
                    }
                    digits.push(byte);
                    continue;
                }
                let number = parse_number(&digits).ok_or_else(|| self.bad("has a sparse file with a damaged map"))?;
                digits.clear();
                if numbers.is_empty() {
                    let count = usize::try_from(number).unwrap_or(usize::MAX);
                    if count > MAX_SPARSE_REGIONS {
                        return Err(Error::Limit(format!("a sparse file has more than {MAX_SPARSE_REGIONS} regions")));
                    }
                    wanted = count.saturating_mul(2).saturating_add(1);
                }
                numbers.push(number);
            }
        }
        let pairs = numbers.get(1..).unwrap_or_default();
        Ok(pairs.chunks_exact(2).filter_map(|pair| Some((*pair.first()?, *pair.last()?))).collect())
    }

    fn long_name(&mut self, header: &Header) -> Result<Vec<u8>> {
        // One byte more for the closing NUL.
        let mut name = self.extension(header, MAX_PATH as u64 + 1, "long name")?;
        while name.last() == Some(&0) {
            name.pop();
        }
        Ok(name)
    }

    fn extension(&mut self, header: &Header, limit: u64, what: &str) -> Result<Vec<u8>> {
        let size = header.entry_size().map_err(|_| self.bad("has a header whose size is not a number"))?;
        if size > limit {
            return Err(Error::Limit(format!("a {what} of {size} bytes; the limit is {limit}")));
        }
        self.expect_data(size)?;
        let mut data = vec![0; usize::try_from(size).unwrap_or(0)];
        self.read_exact(&mut data).map_err(|e| self.read_failed(e))?;
        Ok(data)
    }

    fn expect_data(&mut self, size: u64) -> Result<()> {
        if size > i64::MAX.cast_unsigned() {
            return Err(self.bad("has an entry with an impossible size"));
        }
        self.left = size;
        self.padding = (BLOCK - size % BLOCK) % BLOCK;
        Ok(())
    }

    fn skip_rest(&mut self) -> Result<()> {
        let mut buffer = [0_u8; 8192];
        while self.pending() > 0 {
            let most = usize::try_from(self.pending()).unwrap_or(usize::MAX).min(buffer.len());
            let slice = buffer.get_mut(..most).unwrap_or_default();
            let length = match self.source.read(slice) {
                // Some writers leave out the padding of the last entry.
                Ok(0) if self.left == 0 => {
                    self.skipped();
                    return Ok(());
                }
                Ok(0) => return Err(self.bad("is truncated inside an entry")),
                Ok(length) => length as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Error::io("reading", error)),
            };
            self.position = self.position.saturating_add(length);
            let data = length.min(self.left);
            self.left = self.left.saturating_sub(data);
            self.padding = self.padding.saturating_sub(length.saturating_sub(data));
        }
        Ok(())
    }

    fn read_failed(&self, error: io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => self.bad("is truncated"),
            _ => Error::io("reading", error),
        }
    }

    fn bad(&self, what: &str) -> Error {
        Error::Corrupt(format!("the tar stream {what} (near byte {})", self.position))
    }
}

/// The current entry's data.
impl Read for Tarball<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let slice = buffer.get_mut(..most).unwrap_or_default();
        if slice.is_empty() {
            return Ok(0);
        }
        let length = self.source.read(slice)?;
        if length == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the tar stream is truncated inside an entry"));
        }
        self.left = self.left.saturating_sub(length as u64);
        self.position = self.position.saturating_add(length as u64);
        Ok(length)
    }
}

/// The sparse keys of one PAX header, versions 0.0, 0.1 and 1.0.
#[derive(Default)]
struct PaxSparse {
    version_one: bool,
    name: Option<Vec<u8>>,
    size: Option<u64>,
    numbers: Vec<u64>,
}

fn parse_number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// `[-]seconds[.fraction]`, to whole nanoseconds (further digits are cut off).
fn parse_time(text: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanos: u32 = digits.parse().ok()?;
    if whole.starts_with('-') && nanos > 0 {
        return Some((seconds.checked_sub(1)?, 1_000_000_000_u32.saturating_sub(nanos)));
    }
    Some((seconds, nanos))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn times_before_1970_keep_their_fraction() {
        assert_eq!(parse_time(b"1.5"), Some((1, 500_000_000)));
        assert_eq!(parse_time(b"-1.25"), Some((-2, 750_000_000)));
        assert_eq!(parse_time(b"12"), Some((12, 0)));
        assert_eq!(parse_time(b"1.123456789999"), Some((1, 123_456_789)));
        assert_eq!(parse_time(b"x"), None);
    }

    #[test]
    fn a_huge_long_name_is_refused_before_it_is_read() {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::GNULongName);
        header.set_path("././@LongLink").unwrap();
        header.set_size(1 << 40);
        header.set_cksum();
        let mut source = header.as_bytes().as_slice();
        let mut tarball = Tarball::new(&mut source);
        assert_eq!(tarball.next_entry().unwrap_err().reason(), "ImageLimitExceeded");
    }

    #[test]
    fn garbage_is_not_a_tar_stream() {
        let mut source = [7_u8; 2048].as_slice();
        let mut tarball = Tarball::new(&mut source);
        assert!(tarball.next_entry().unwrap_err().to_string().contains("checksum"));
    }
}
