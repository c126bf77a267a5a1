//! The windowing rules of docs/semantics.md and docs/recovery.md by their ids, through the public core; one
//! file per topic. Each test fails when its rule is broken.

mod admission;
mod classes;
mod clocks;
mod closing;
mod late;
mod look;
mod marks;
mod random;
mod recovery;
mod seqs;
mod watch;
mod world;
