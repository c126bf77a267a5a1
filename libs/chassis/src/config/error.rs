//! What can be wrong with a configuration. Every message names the key, the place and what is allowed.

use super::origin::Origin;
use std::path::PathBuf;

/// Why a configuration was refused. All of them end the process with exit code 2.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration file {} cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is larger than 1 MiB.
    #[error("the configuration file {} is larger than {max_bytes} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Largest size.
        max_bytes: u64,
    },
    /// The file is not TOML.
    #[error("{file} line {line} column {column}: {message}")]
    Syntax {
        /// The file.
        file: String,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What the parser says.
        message: String,
    },
    /// The embedded default is broken: a defect of this build.
    #[error("the embedded default of {service} is broken: {message}")]
    Default {
        /// The service.
        service: String,
        /// What is wrong.
        message: String,
    },
    /// A section or override names no service.
    #[error("{origin}: {name:?} is no service here; allowed: {allowed}")]
    Service {
        /// The name given.
        name: String,
        /// Where.
        origin: Origin,
        /// The services.
        allowed: String,
    },
    /// `--set` without its form.
    #[error("--set {given:?}: write service.key=value, e.g. coalescer.lateness=5s")]
    Set {
        /// As given, without the value.
        given: String,
    },
    /// An environment variable without its form.
    #[error("environment variable {variable}: write {prefix}A__B for the key a.b")]
    Env {
        /// Its name.
        variable: String,
        /// What it must start with.
        prefix: String,
    },
    /// A service's name is given a value.
    #[error("{origin}: {service} is a value; write a section [{service}]")]
    NoSection {
        /// The service.
        service: String,
        /// Where.
        origin: Origin,
    },
    /// A key goes below a value that has no parts.
    #[error("{origin}: {service}.{key} cannot be set: {parent} is a value, not a section")]
    NotASection {
        /// The service.
        service: String,
        /// The key.
        key: String,
        /// The part of it that is a value.
        parent: String,
        /// Where.
        origin: Origin,
    },
    /// A value does not fit.
    #[error("{origin}: {service}.{key}: {message}")]
    Value {
        /// The service.
        service: String,
        /// The key.
        key: String,
        /// Where.
        origin: Origin,
        /// What is wrong and what is allowed.
        message: String,
    },
    /// A key nobody knows.
    #[error("{origin}: {service}.{key} is not known; {allowed}")]
    UnknownKey {
        /// The service.
        service: String,
        /// The key.
        key: String,
        /// Where.
        origin: Origin,
        /// The known keys.
        allowed: String,
    },
}
