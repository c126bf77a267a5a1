//! The closed enums of the contract: why an event was not counted into a row, and what closed a window.

macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// Every value, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name used in rows, metrics and documents.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// The value of a name; `None` for any other text.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }

            /// Position in [`Self::ALL`], the value on the wire.
            pub const fn index(self) -> usize { self as usize }

            /// The value at a position; `None` past the end.
            pub fn from_index(index: usize) -> Option<Self> { Self::ALL.get(index).copied() }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(self.as_str()) }
        }
    };
}

pub(crate) use named;

named! {
    /// Why an event is not simply counted in its window's row. The order is the order of admission:
    /// the first reason that fits is the reason.
    DropReason {
        /// Cannot be decoded, or breaks a limit of the contract.
        Malformed = "malformed",
        /// Key differs from the stream id, or the record lies in a partition that does not own the stream.
        Misrouted = "misrouted",
        /// Event time is further ahead of arrival than `max-future`.
        Future = "future",
        /// Event time is further behind arrival than `max-age`, and not flagged as backfill.
        TooOld = "too_old",
        /// Its `seq` is already counted.
        Duplicate = "duplicate",
        /// Its window is closed: it takes the late path and is merged into the stored row.
        Late = "late",
        /// A bound refuses it: the ring of buffered mode, a fuzzy seq interval, or a full field table.
        Overflow = "overflow",
    }
}

named! {
    /// What closed a window.
    ClosedBy {
        /// The stream's own watermark passed its end.
        Watermark = "watermark",
        /// More than `open-windows-max` windows of the stream were open.
        Crowded = "crowded",
        /// The stream was silent.
        Idle = "idle",
        /// It was open for `open-age-max`.
        Age = "age",
        /// The memory budget needed its room.
        Evicted = "evicted",
        /// The input ended.
        End = "end",
        /// No row existed: the row was made by late events alone.
        Late = "late",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_positions_round_trip() {
        for (i, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(DropReason::parse(reason.as_str()), Some(*reason));
            assert_eq!(DropReason::from_index(i), Some(*reason));
            assert_eq!(reason.index(), i);
        }
        for closed_by in ClosedBy::ALL {
            assert_eq!(ClosedBy::parse(closed_by.as_str()), Some(*closed_by));
        }
        assert_eq!(ClosedBy::parse("nobody"), None);
        assert_eq!(DropReason::from_index(99), None);
    }
}
