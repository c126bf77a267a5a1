//! One SQLite file of the data directory: opened, checked, its settings; and what its errors mean.
//! Owns: format versions, pragmas, the classes of write errors. Never: a table's content.

use crate::Durability;
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};
use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// One of the two files: its name, its mark in SQLite's `application_id`, its tables.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FileKind {
    pub name: &'static str,
    pub application_id: i32,
    /// Format version this program writes and reads.
    pub version: i32,
    pub schema: &'static str,
    /// Tables that came later, made where they are missing. What an earlier version does not know it leaves alone.
    pub added: &'static str,
}

/// How to open a file for writing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FileOptions {
    pub durability: Durability,
    pub bytes_max: Option<u64>,
    pub busy_wait_ms: u64,
}

const PAGE_BYTES: u32 = 8_192;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Written by a newer program.
    #[error(
        "{} has format version {found}, this program reads up to {known}: run the newer version that wrote \
         it, or choose another data directory", path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format version.
        found: i32,
        /// The newest version this program reads.
        known: i32,
    },
    /// Not one of ours, or damaged.
    #[error(
        "{} is damaged or not a file of this program ({reason}): nothing was changed; restore it from a \
         backup, or keep a copy and recover what is left with `sqlite3 {} .recover`",
        path.display(), path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// Anything else SQLite or the disk says.
    #[error("{} cannot be opened: {source}; check the path, its permissions and the room on its disk", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: rusqlite::Error,
    },
}

impl FileError {
    pub(crate) fn of(path: &Path, source: rusqlite::Error) -> Self {
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Damaged { path: path.to_owned(), reason: source.to_string() }
            }
            _ => Self::Unusable { path: path.to_owned(), source },
        }
    }
}

/// What a failed write or read means. The texts name the file and a remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// Another program holds the file: the same may succeed later.
    #[error("{0}")]
    Busy(String),
    /// No room: the same may succeed once somebody has made some.
    #[error("{0}")]
    NoRoom(String),
    /// Damage, or a disk that refuses: goes on only after somebody acts.
    #[error("{0}")]
    Broken(String),
    /// This job can never succeed; others can.
    #[error("{0}")]
    Refused(String),
}

impl Fault {
    /// Classifies an error of the file `name`.
    pub fn of(name: &str, error: &rusqlite::Error) -> Self {
        use ErrorCode::{
            DatabaseBusy, DatabaseCorrupt, DatabaseLocked, DiskFull, NotADatabase, ReadOnly, SystemIoFailure,
            TooBig,
        };
        match error.sqlite_error_code() {
            Some(DatabaseBusy | DatabaseLocked) => Self::Busy(format!(
                "{name} is locked by another program ({error}): nothing was written; end that program \
                 (a backup, an sqlite3 shell)"
            )),
            Some(DiskFull) => Self::NoRoom(format!(
                "no room for {name} ({error}): nothing that was acknowledged is lost; free space on its disk, \
                 or raise its byte limit or shorten the retention and start again"
            )),
            Some(DatabaseCorrupt | NotADatabase) => Self::Broken(format!(
                "{name} is damaged ({error}): stop, keep a copy, then restore a backup or recover what is \
                 left with `sqlite3 {name} .recover`"
            )),
            Some(ReadOnly) => Self::Broken(format!(
                "{name} cannot be written ({error}): make the data directory writable and start again"
            )),
            Some(SystemIoFailure) => Self::Broken(format!(
                "the disk failed under {name} ({error}): nothing that was acknowledged is lost as far as the \
                 disk kept it; check the disk and start again"
            )),
            Some(TooBig) => Self::Refused(format!("too large for {name} ({error})")),
            _ => Self::Broken(format!("{name}: {error}")),
        }
    }
}

/// Says that writes fail, at most once in a while: on a full disk every one does.
#[derive(Debug, Default)]
pub(crate) struct FaultLog {
    told: Cell<Option<Instant>>,
    silent: Cell<u64>,
}

impl FaultLog {
    const EVERY: Duration = Duration::from_secs(10);

    /// A write failed; `fault` names the file.
    pub fn tell(&self, fault: &Fault) {
        if self.told.get().is_some_and(|at| at.elapsed() < Self::EVERY) {
            return self.silent.set(self.silent.get() + 1);
        }
        self.told.set(Some(Instant::now()));
        tracing::error!(%fault, suppressed = self.silent.replace(0), "a write failed");
    }
}

/// Opens (or creates) a file for its one writer.
pub(crate) fn open_writer(dir: &Path, kind: FileKind, options: FileOptions) -> Result<Connection, FileError> {
    let path = dir.join(kind.name);
    let fail = |e| FileError::of(&path, e);
    let mut conn = Connection::open(&path).map_err(fail)?;
    check_version(&path, &conn, kind)?;
    configure(&conn, options).map_err(fail)?;
    let txn = conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fail)?;
    if is_empty(&txn).map_err(fail)? {
        txn.execute_batch(kind.schema).map_err(fail)?;
        txn.pragma_update(None, "application_id", kind.application_id).map_err(fail)?;
        txn.pragma_update(None, "user_version", kind.version).map_err(fail)?;
    }
    txn.execute_batch(kind.added).map_err(fail)?;
    txn.commit().map_err(fail)?;
    Ok(conn)
}

/// Opens an existing file for reading only.
pub(crate) fn open_reader(dir: &Path, kind: FileKind, busy_wait_ms: u64) -> Result<Connection, FileError> {
    let path = dir.join(kind.name);
    let fail = |e| FileError::of(&path, e);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(&path, flags).map_err(fail)?;
    conn.busy_timeout(Duration::from_millis(busy_wait_ms)).map_err(fail)?;
    conn.pragma_update(None, "cache_size", -4_096).map_err(fail)?;
    check_version(&path, &conn, kind)?;
    Ok(conn)
}

fn configure(conn: &Connection, options: FileOptions) -> rusqlite::Result<()> {
    conn.busy_timeout(Duration::from_millis(options.busy_wait_ms))?;
    conn.pragma_update(None, "page_size", PAGE_BYTES)?;
    conn.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    conn.pragma_update(None, "journal_mode", "WAL")?;
    conn.pragma_update(
        None,
        "synchronous",
        match options.durability {
            Durability::Process => "NORMAL",
            Durability::Power => "FULL",
        },
    )?;
    conn.pragma_update(None, "wal_autocheckpoint", 4_000)?; // 32 MB
    conn.pragma_update(None, "journal_size_limit", 64 << 20)?;
    conn.pragma_update(None, "cache_size", -16_384)?; // KiB
    if let Some(bytes) = options.bytes_max {
        let pages = (bytes / u64::from(PAGE_BYTES)).max(1);
        conn.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))?;
    }
    conn.set_prepared_statement_cache_capacity(64);
    Ok(())
}

fn is_empty(conn: &Transaction<'_>) -> rusqlite::Result<bool> {
    conn.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| row.get(0))
}

/// A file of ours in a version we read, or a new one.
fn check_version(path: &Path, conn: &Connection, kind: FileKind) -> Result<(), FileError> {
    let fail = |e| FileError::of(path, e);
    let pragma = |name: &str| conn.pragma_query_value(None, name, |row| row.get::<_, i32>(0)).map_err(fail);
    let (application_id, version) = (pragma("application_id")?, pragma("user_version")?);
    let tables: i64 =
        conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(fail)?;
    if tables == 0 && version == 0 {
        return Ok(());
    }
    if application_id != kind.application_id {
        let reason = format!("its application id is {application_id}, not {}", kind.application_id);
        return Err(FileError::Damaged { path: path.to_owned(), reason });
    }
    if version > kind.version {
        return Err(FileError::Newer { path: path.to_owned(), found: version, known: kind.version });
    }
    Ok(())
}
