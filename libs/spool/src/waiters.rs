//! Who waits for which byte. The stream only goes forward, so a wait is one number: the first byte past what
//! the reader asked for.
//!
//! Owns: registrations in order of that number. Never: wakes by itself (wakers are handed out, to be called
//! after the lock is gone), polls anything. Bound: one entry per reader that waits now; a reader that gives
//! up takes its entry along.

use std::collections::BTreeMap;
use std::task::Waker;

/// One registration: the target in bytes, and a number that tells equal targets apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket {
    target: u64,
    number: u64,
}

/// Readers that wait, by target.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    by_target: BTreeMap<Ticket, Waker>,
    next: u64,
}

impl Waiters {
    /// Registers a reader that waits until `target` bytes are there.
    pub(crate) fn add(&mut self, target: u64, waker: Waker) -> Ticket {
        self.next += 1;
        let ticket = Ticket { target, number: self.next };
        self.by_target.insert(ticket, waker);
        ticket
    }

    /// The waker of a registration that still stands is replaced; false if it was woken meanwhile.
    pub(crate) fn renew(&mut self, ticket: Ticket, waker: &Waker) -> bool {
        let Some(held) = self.by_target.get_mut(&ticket) else { return false };
        held.clone_from(waker);
        true
    }

    /// Takes a registration back, woken or not.
    pub(crate) fn remove(&mut self, ticket: Ticket) {
        self.by_target.remove(&ticket);
    }

    /// The wakers of everybody who waits for no more than `filled` bytes; they are no longer registered.
    pub(crate) fn reached(&mut self, filled: u64) -> Vec<Waker> {
        if self.smallest().is_none_or(|target| target > filled) {
            return Vec::new();
        }
        let rest = match filled.checked_add(1) {
            Some(target) => self.by_target.split_off(&Ticket { target, number: 0 }),
            None => BTreeMap::new(),
        };
        std::mem::replace(&mut self.by_target, rest).into_values().collect()
    }

    /// Everybody: there will be no more bytes.
    pub(crate) fn all(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.by_target).into_values().collect()
    }

    /// The nearest target, bytes.
    pub(crate) fn smallest(&self) -> Option<u64> {
        self.by_target.first_key_value().map(|(ticket, _)| ticket.target)
    }

    /// The farthest target, bytes.
    pub(crate) fn largest(&self) -> Option<u64> {
        self.by_target.last_key_value().map(|(ticket, _)| ticket.target)
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.by_target.len()
    }
}
