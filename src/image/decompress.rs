//! [`Decompressor`]: one stream of plain, gzip or zstd bytes as plain bytes, within the limits on window and ratio.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::limits::{MAX_RATIO, MAX_ZSTD_WINDOW, RATIO_FREE};

/// How a blob is compressed; told by its first bytes, never by its name or media type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    Plain,
    Gzip,
    Zstd,
}

/// Reads plain bytes from a stream of any supported compression.
pub(crate) struct Decompressor<'a> {
    inner: Inner<'a>,
    out: u64,
}

enum Inner<'a> {
    Plain(BufReader<Counted<'a>>),
    Gzip(Box<MultiGzDecoder<BufReader<Counted<'a>>>>),
    Zstd(Box<Zstd<'a>>),
}

/// Size of the read buffer below the decoder.
const BUFFER: usize = 128 << 10;

impl<'a> Decompressor<'a> {
    /// Looks at the first bytes and picks the decoder.
    pub(crate) fn new(source: &'a mut dyn Read) -> io::Result<Self> {
        let mut source = BufReader::with_capacity(BUFFER, Counted { source, read: 0 });
        let compression = compression_of(source.fill_buf()?);
        let inner = match compression {
            Compression::Plain => Inner::Plain(source),
            Compression::Gzip => Inner::Gzip(Box::new(MultiGzDecoder::new(source))),
            Compression::Zstd => {
                let mut decoder = FrameDecoder::new();
                decoder.set_max_window_size(MAX_ZSTD_WINDOW);
                Inner::Zstd(Box::new(Zstd { source, decoder, in_frame: false }))
            }
        };
        Ok(Self { inner, out: 0 })
    }

    /// What the first bytes said.
    pub(crate) fn compression(&self) -> Compression {
        match self.inner {
            Inner::Plain(_) => Compression::Plain,
            Inner::Gzip(_) => Compression::Gzip,
            Inner::Zstd(_) => Compression::Zstd,
        }
    }

    /// Reads what lies behind the end of the compressed data, so that the blob's digest covers all of it.
    pub(crate) fn drain(&mut self) -> io::Result<()> {
        let source = match &mut self.inner {
            Inner::Plain(source) => source,
            Inner::Gzip(decoder) => decoder.get_mut(),
            Inner::Zstd(zstd) => &mut zstd.source,
        };
        loop {
            let length = source.fill_buf()?.len();
            if length == 0 {
                return Ok(());
            }
            source.consume(length);
        }
    }

    fn bytes_in(&self) -> u64 {
        match &self.inner {
            Inner::Plain(source) => source.get_ref().read,
            Inner::Gzip(decoder) => decoder.get_ref().get_ref().read,
            Inner::Zstd(zstd) => zstd.source.get_ref().read,
        }
    }
}

impl Read for Decompressor<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = match &mut self.inner {
            Inner::Plain(source) => return source.read(buffer),
            Inner::Gzip(decoder) => decoder.read(buffer).map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => io::Error::other("the gzip data is truncated"),
                io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
                    io::Error::other(format!("the gzip data is damaged: {error}"))
                }
                _ => error,
            })?,
            Inner::Zstd(zstd) => zstd.read(buffer)?,
        };
        self.out = self.out.saturating_add(length as u64);
        if self.out > RATIO_FREE && self.out / MAX_RATIO > self.bytes_in() {
            return Err(io::Error::other(format!(
                "a decompression bomb: {} compressed bytes gave {} bytes; the limit is {MAX_RATIO} to 1 beyond {} MiB",
                self.bytes_in(),
                self.out,
                RATIO_FREE >> 20
            )));
        }
        Ok(length)
    }
}

/// Tells the compression from a blob's first bytes.
pub(crate) fn compression_of(first: &[u8]) -> Compression {
    match first {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        // A zstd frame, or a skippable frame in front of one (pzstd, seekable zstd).
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
        _ => Compression::Plain,
    }
}

/// Counts what was read.
struct Counted<'a> {
    source: &'a mut dyn Read,
    read: u64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.source.read(buffer)?;
        self.read = self.read.saturating_add(length as u64);
        Ok(length)
    }
}

/// All frames of a zstd stream, one after the other.
struct Zstd<'a> {
    source: BufReader<Counted<'a>>,
    decoder: FrameDecoder,
    in_frame: bool,
}

impl Read for Zstd<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.in_frame && !self.next_frame()? {
                return Ok(0);
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                self.decoder
                    .decode_blocks(&mut self.source, BlockDecodingStrategy::UptoBlocks(1))
                    .map_err(|error| io::Error::other(format!("the zstd data is damaged or truncated: {error}")))?;
            }
            if self.decoder.can_collect() > 0 {
                return self.decoder.read(buffer);
            }
            self.in_frame = false;
        }
    }
}

impl Zstd<'_> {
    /// Reads the next frame's header; false at the end of the stream.
    fn next_frame(&mut self) -> io::Result<bool> {
        loop {
            if self.source.fill_buf()?.is_empty() {
                return Ok(false);
            }
            match self.decoder.reset(&mut self.source) {
                Ok(()) => {
                    self.in_frame = true;
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    let skipped = io::copy(&mut self.source.by_ref().take(u64::from(length)), &mut io::sink())?;
                    if skipped < u64::from(length) {
                        return Err(io::Error::other("the zstd data is truncated"));
                    }
                }
                Err(FrameDecoderError::WindowSizeTooBig { requested, .. }) => {
                    return Err(io::Error::other(format!(
                        "the zstd window is {requested} bytes, the limit is {} MiB; compress again without --long or --ultra",
                        MAX_ZSTD_WINDOW >> 20
                    )));
                }
                Err(error) => return Err(io::Error::other(format!("the zstd data is damaged: {error}"))),
            }
        }
    }
}
