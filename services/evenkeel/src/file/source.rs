//! The bytes of a file: gunzipped where they are gzip, counted as they are on disk, digested as they are read.

use super::error::InputError;
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many bytes of the file, as it lies on disk, were read: for whoever shows progress.
#[derive(Debug, Clone, Default)]
pub struct BytesRead(Arc<AtomicU64>);

impl BytesRead {
    /// Bytes so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A file's content.
pub struct Source {
    inner: Box<dyn Read + Send>,
    hasher: blake3::Hasher,
}

impl Source {
    /// Opens a file. Gzip is told by its first two bytes, not by the name.
    pub fn open(path: &Path, read: &BytesRead) -> Result<Self, InputError> {
        let failed = |source| InputError::Open { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(failed)?;
        let mut magic = Vec::new();
        file.by_ref().take(2).read_to_end(&mut magic).map_err(failed)?;
        read.0.store(magic.len() as u64, Ordering::Relaxed);
        let gzip = magic == [0x1f, 0x8b];
        let raw = std::io::Cursor::new(magic).chain(Counting { file, read: read.clone() });
        let inner: Box<dyn Read + Send> =
            if gzip { Box::new(MultiGzDecoder::new(std::io::BufReader::new(raw))) } else { Box::new(raw) };
        Ok(Self { inner, hasher: blake3::Hasher::new() })
    }

    /// Reads what is left; the digest of the whole content.
    pub fn digest(mut self) -> std::io::Result<String> {
        std::io::copy(&mut self, &mut std::io::sink())?;
        Ok(self.hasher.finalize().to_hex().to_string())
    }
}

impl Read for Source {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(into)?;
        self.hasher.update(&into[..n]);
        Ok(n)
    }
}

struct Counting {
    file: File,
    read: BytesRead,
}

impl Read for Counting {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let n = self.file.read(into)?;
        self.read.0.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// What helps against an error of reading.
pub fn remedy(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => "; the gzip file is cut off: fetch it again",
        std::io::ErrorKind::InvalidInput | std::io::ErrorKind::InvalidData => {
            "; the gzip file is damaged: fetch it again"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn digest(content: &[u8]) -> std::io::Result<String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        let read = BytesRead::default();
        let digest = Source::open(file.path(), &read).unwrap().digest()?;
        assert_eq!(read.get(), content.len() as u64);
        Ok(digest)
    }

    #[test]
    fn the_digest_is_of_the_content_zipped_or_not() {
        let content = b"stream_id,ts\n".repeat(10_000);
        let plain = digest(&content).unwrap();
        assert_eq!(plain, blake3::hash(&content).to_hex().to_string());
        assert_eq!(digest(&gzip(&content)).unwrap(), plain);
        let two_members = [gzip(&content[..100]), gzip(&content[100..])].concat();
        assert_eq!(digest(&two_members).unwrap(), plain);
        for short in [&b""[..], b"a"] {
            assert_eq!(digest(short).unwrap(), blake3::hash(short).to_hex().to_string());
        }
    }

    #[test]
    fn a_cut_or_damaged_gzip_says_so() {
        let mut packed = gzip(&b"stream_id,ts\n".repeat(10_000));
        let cut = digest(&packed[..packed.len() - 9]).unwrap_err();
        assert_eq!(remedy(&cut), "; the gzip file is cut off: fetch it again");
        let middle = packed.len() / 2;
        packed[middle..middle + 8].fill(0xff);
        let damaged = digest(&packed).unwrap_err();
        assert!(remedy(&damaged).starts_with("; the gzip file is"), "{damaged:?}");
    }
}
