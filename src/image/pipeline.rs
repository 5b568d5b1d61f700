//! [`process`]: one pass over a layer blob: one thread reads, hashes, stores and inflates it, the other hashes and
//! unpacks the tar stream. Memory is a fixed number of fixed buffers, whatever the layer's size.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use sha2::{Digest as _, Sha256};

use super::decompress::{Compression, Decompressor};
use super::error::{Error, Result};
use super::lower::Lower;
use super::progress::Progress;
use super::store::digest_text;
use super::tarball::Tarball;
use super::unpack::{Counts, LayerWriter};

/// What a blob turned out to be.
#[derive(Debug)]
pub(crate) struct Processed {
    /// Digest and size of the blob as it is.
    pub(crate) digest: String,
    pub(crate) size: u64,
    pub(crate) compression: Compression,
    /// Digest of the tar stream inside.
    pub(crate) diff_id: String,
    pub(crate) counts: Counts,
}

/// Bytes in one buffer, and buffers on their way between the threads.
const CHUNK: usize = 256 << 10;
const CHUNKS: usize = 4;

/// Reads `source` once: stores it in `blob` and unpacks it into `layer` over `lower`, where these are given.
pub(crate) fn process(
    source: &mut (dyn Read + Send),
    blob: Option<File>,
    layer: Option<(OwnedFd, &Lower)>,
    progress: &Progress,
    what: &str,
) -> Result<Processed> {
    let (full, plain) = sync_channel::<Vec<u8>>(CHUNKS);
    let (empty, spare) = channel::<Vec<u8>>();
    std::thread::scope(|scope| {
        let reader = std::thread::Builder::new()
            .name("image-read".into())
            .stack_size(512 << 10)
            .spawn_scoped(scope, move || read_blob(source, blob, progress, what, &full, &spare))
            .map_err(|e| Error::io("starting the reading thread", e))?;
        let mut stream = Plain { chunks: plain, empty, chunk: Vec::new(), at: 0, hash: Sha256::new() };
        let written = unpack(&mut stream, layer);
        let diff_id = digest_text(stream.hash.clone().finalize().as_slice());
        // Lets a reader that still has something to send stop.
        drop(stream);
        let read = reader.join().map_err(|_| Error::Worker("the reading thread ended unexpectedly".into()))?;
        // A failure to read is the cause of whatever the unpacking side says about it.
        let (digest, size, compression) = match (read, &written) {
            (Ok(read), _) => read,
            (Err(Stop::Failed(error)), _) => return Err(error),
            (Err(Stop::NotWanted), _) => (String::new(), 0, Compression::Plain),
        };
        Ok(Processed { digest, size, compression, diff_id, counts: written? })
    })
}

/// Reads `source` once for its digest and size, storing it in `blob` if given.
pub(crate) fn hash_only(
    source: &mut dyn Read,
    blob: Option<File>,
    progress: &Progress,
    what: &str,
) -> Result<(String, u64)> {
    let mut tee = TeeState { blob, hash: Sha256::new(), size: 0, failed: None };
    let copied = io::copy(&mut Tee { source, state: &mut tee, progress, what }, &mut io::sink());
    if let Some(error) = tee.failed {
        return Err(Error::io("storing a blob", error));
    }
    copied.map_err(|e| Error::io("reading", e))?;
    Ok((digest_text(tee.hash.finalize().as_slice()), tee.size))
}

fn unpack(stream: &mut Plain, layer: Option<(OwnedFd, &Lower)>) -> Result<Counts> {
    let mut counts = Counts::default();
    if let Some((root, lower)) = layer {
        counts = LayerWriter::new(root, lower).write_all(&mut Tarball::new(stream))?;
    }
    // The diff id covers what follows the end mark, too.
    while stream.next_chunk() {}
    Ok(counts)
}

enum Stop {
    Failed(Error),
    /// The other side has stopped; it knows why.
    NotWanted,
}

fn read_blob(
    source: &mut dyn Read,
    blob: Option<File>,
    progress: &Progress,
    what: &str,
    full: &SyncSender<Vec<u8>>,
    spare: &Receiver<Vec<u8>>,
) -> std::result::Result<(String, u64, Compression), Stop> {
    let mut tee = TeeState { blob, hash: Sha256::new(), size: 0, failed: None };
    let passed = pass(&mut Tee { source, state: &mut tee, progress, what }, full, spare);
    if let Some(error) = tee.failed {
        return Err(Stop::Failed(Error::io("storing the blob", error)));
    }
    let compression = passed?;
    Ok((digest_text(tee.hash.finalize().as_slice()), tee.size, compression))
}

fn pass(
    source: &mut dyn Read,
    full: &SyncSender<Vec<u8>>,
    spare: &Receiver<Vec<u8>>,
) -> std::result::Result<Compression, Stop> {
    let failed = |e: io::Error| {
        Stop::Failed(match e.raw_os_error() {
            Some(_) => Error::io("reading the blob", e),
            None if e.to_string().contains("bomb") || e.to_string().contains("window") => Error::Limit(e.to_string()),
            None => Error::Corrupt(e.to_string()),
        })
    };
    let mut plain = Decompressor::new(source).map_err(failed)?;
    let mut made = 0;
    loop {
        let mut chunk = match spare.try_recv() {
            Ok(chunk) => chunk,
            Err(_) if made < CHUNKS => {
                made += 1;
                vec![0; CHUNK]
            }
            Err(_) => spare.recv().map_err(|_| Stop::NotWanted)?,
        };
        chunk.resize(CHUNK, 0);
        let mut filled = 0;
        while let Some(rest) = chunk.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match plain.read(rest) {
                Ok(0) => break,
                Ok(length) => filled = filled.saturating_add(length),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
        }
        if filled == 0 {
            break;
        }
        chunk.truncate(filled);
        full.send(chunk).map_err(|_| Stop::NotWanted)?;
    }
    plain.drain().map_err(failed)?;
    Ok(plain.compression())
}

/// The inflated stream on the unpacking side.
struct Plain {
    chunks: Receiver<Vec<u8>>,
    empty: Sender<Vec<u8>>,
    chunk: Vec<u8>,
    at: usize,
    hash: Sha256,
}

impl Plain {
    /// Takes and hashes the next chunk; false at the end.
    fn next_chunk(&mut self) -> bool {
        if !self.chunk.is_empty() {
            let _ = self.empty.send(std::mem::take(&mut self.chunk));
        }
        self.at = 0;
        match self.chunks.recv() {
            Ok(chunk) => {
                self.hash.update(&chunk);
                self.chunk = chunk;
                true
            }
            Err(_) => false,
        }
    }
}

impl Read for Plain {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.chunk.len() && !self.next_chunk() {
            return Ok(0);
        }
        let rest = self.chunk.get(self.at..).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..length), rest.get(..length)) {
            to.copy_from_slice(from);
        }
        self.at = self.at.saturating_add(length);
        Ok(length)
    }
}

struct TeeState {
    blob: Option<File>,
    hash: Sha256,
    size: u64,
    failed: Option<io::Error>,
}

/// Hashes, counts and stores what passes through.
struct Tee<'a> {
    source: &'a mut dyn Read,
    state: &'a mut TeeState,
    progress: &'a Progress,
    what: &'a str,
}

impl Read for Tee<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.source.read(buffer)?;
        let data = buffer.get(..length).unwrap_or_default();
        self.state.hash.update(data);
        self.state.size = self.state.size.saturating_add(length as u64);
        if let Some(blob) = &mut self.state.blob
            && let Err(error) = blob.write_all(data)
        {
            self.state.failed = Some(error);
            return Err(io::Error::other("the blob cannot be stored"));
        }
        self.progress.add(length as u64, self.what);
        Ok(length)
    }
}
