//! Decompression in bounded steps: gzip and zstd.
//!
//! Owns: the decoder of one body. Never: more than about 64 KiB of output per step, or a zstd window above
//! [`WINDOW_LOG_MAX`], whatever the body says of itself.

use crate::problem::{Kind, Problem};
use bytes::{Buf, Bytes};
use flate2::write::MultiGzDecoder;
use std::io::Write;
use zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer};

/// What a content encoding says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Plain,
    Gzip,
    Zstd,
}

/// Largest zstd window, as a power of two: 8 MiB, what RFC 9659 lets a sender use in HTTP.
const WINDOW_LOG_MAX: u32 = 23;
/// Output of a step, bytes.
pub(crate) const STEP_BYTES: usize = 64 * 1024;
/// What inflating gzip costs: the window, the code tables and the step's output, bytes.
const GUNZIP_BYTES: usize = 128 * 1024;

/// One body's decoder.
pub(crate) enum Unpack {
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
    Zstd(Box<Zstd>),
}

/// A zstd stream: one frame after the other.
pub(crate) struct Zstd {
    context: DCtx<'static>,
    /// The step's output, used again.
    out: Vec<u8>,
    /// Within a frame.
    open: bool,
}

impl Unpack {
    /// `None` for a plain body, which needs none.
    pub(crate) fn new(encoding: Encoding) -> Option<Self> {
        match encoding {
            Encoding::Plain => None,
            Encoding::Gzip => Some(Self::Gzip(Box::new(MultiGzDecoder::new(Vec::new())))),
            Encoding::Zstd => Some(Self::zstd()),
        }
    }

    /// A decoder of zstd.
    pub(crate) fn zstd() -> Self {
        let mut context = DCtx::create();
        // Only a number out of its range could be refused.
        let _ = context.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX));
        Self::Zstd(Box::new(Zstd { context, out: Vec::new(), open: false }))
    }

    /// What it holds in memory, bytes.
    pub(crate) fn cost_bytes(&self) -> usize {
        match self {
            Self::Gzip(_) => GUNZIP_BYTES,
            Self::Zstd(zstd) => zstd.context.sizeof() + STEP_BYTES,
        }
    }

    /// The next step's output, and whether more may come without further input.
    pub(crate) fn step(&mut self, piece: &mut Bytes) -> Result<(Vec<u8>, bool), Problem> {
        match self {
            Self::Gzip(gunzip) => {
                let taken = gunzip.write(piece).map_err(|error| broken("gzip", &error.to_string()))?;
                if taken == 0 {
                    return Err(broken("gzip", "it does not continue"));
                }
                piece.advance(taken);
                Ok((std::mem::take(gunzip.get_mut()), false))
            }
            Self::Zstd(zstd) => zstd.step(piece),
        }
    }

    /// Takes a step's output back, to use its memory again.
    pub(crate) fn give_back(&mut self, part: Vec<u8>) {
        if let Self::Zstd(zstd) = self {
            zstd.out = part;
        }
    }

    /// The body is complete: what is left of it.
    pub(crate) fn finish(&mut self) -> Result<Vec<u8>, Problem> {
        match self {
            Self::Gzip(gunzip) => {
                gunzip.try_finish().map_err(|error| broken("gzip", &error.to_string()))?;
                Ok(std::mem::take(gunzip.get_mut()))
            }
            Self::Zstd(zstd) if zstd.open => Err(broken("zstd", "it ends within a frame")),
            Self::Zstd(_) => Ok(Vec::new()),
        }
    }
}

impl Zstd {
    fn step(&mut self, piece: &mut Bytes) -> Result<(Vec<u8>, bool), Problem> {
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        out.reserve_exact(STEP_BYTES);
        let mut input = InBuffer::around(piece);
        let mut output = OutBuffer::around(&mut out);
        let hint = self
            .context
            .decompress_stream(&mut output, &mut input)
            .map_err(|code| broken("zstd", zstd_safe::get_error_name(code)))?;
        let (taken, written) = (input.pos(), output.pos());
        piece.advance(taken);
        self.open = hint != 0;
        // A full output may hide more; an input that is not taken at all will never be.
        let again = written >= STEP_BYTES;
        if taken == 0 && written == 0 && !piece.is_empty() {
            return Err(broken("zstd", "it does not continue"));
        }
        Ok((out, again))
    }
}

fn broken(encoding: &str, why: &str) -> Problem {
    Problem::new(Kind::UnreadableBody, format!("the {encoding} data is broken or cut short: {why}"))
}
