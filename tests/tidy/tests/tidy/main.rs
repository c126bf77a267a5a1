//! Repository invariants as ordinary tests. CONTRIBUTING.md gives the reasons; each file here holds one
//! subject, its allow-lists first, so that an exception is a line in a diff.

mod documents;
mod edges;
mod files;
mod manifests;
mod metrics;
mod rules;
mod words;
