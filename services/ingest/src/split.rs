//! Cuts a body that arrives in pieces into items: the lines of NDJSON, or the elements of a JSON array.
//!
//! Owns: where an item begins and ends. Never: what is in it (codec), more memory than one item's limit:
//! an item beyond the limit is skipped to its end and reported, its neighbours are not touched.

/// How the items of a body are separated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One item per line; blank lines are none.
    Lines,
    /// One JSON array of items, or one object, which is one item.
    Array,
}

/// One item of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Item<'a> {
    /// Its text.
    Text(&'a [u8]),
    /// It is longer than the limit.
    TooLong,
}

/// Why a body cannot be cut into items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SplitError {
    /// Something else where an array or object should begin.
    #[error("byte {0}: expected a JSON array of events (or one event)")]
    NoArray(u64),
    /// No comma or closing bracket after an element.
    #[error("byte {0}: expected a comma or the end of the array")]
    NoSeparator(u64),
    /// A comma without an element.
    #[error("byte {0}: expected an event")]
    NoElement(u64),
    /// Something after the end.
    #[error("byte {0}: nothing may follow the end of the array")]
    Trailing(u64),
    /// The body ended inside the array.
    #[error("the body ends before the array does")]
    Unfinished,
}

/// The cutter.
#[derive(Debug)]
pub(crate) struct Splitter {
    item_bytes_max: usize,
    state: State,
    // The part of the current item that came with earlier pieces.
    item: Vec<u8>,
    too_long: bool,
    position: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Line,
    Begin,
    // `first`: a closing bracket may stand here.
    BeforeElement { first: bool },
    Element { depth: u32, text: Text, alone: bool },
    AfterElement,
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Text {
    Outside,
    Inside,
    Escaped,
}

impl Splitter {
    /// `item_bytes_max` bounds one item.
    pub(crate) fn new(shape: Shape, item_bytes_max: usize) -> Self {
        let state = match shape {
            Shape::Lines => State::Line,
            Shape::Array => State::Begin,
        };
        Self { item_bytes_max, state, item: Vec::new(), too_long: false, position: 0 }
    }

    /// Bytes it keeps between pieces.
    pub(crate) fn allocated(&self) -> usize {
        self.item.capacity()
    }

    /// Takes the next piece; `each` gets every item that ends in it.
    pub(crate) fn push(&mut self, piece: &[u8], each: &mut dyn FnMut(Item<'_>)) -> Result<(), SplitError> {
        if self.state == State::Line {
            self.push_lines(piece, each);
            return Ok(());
        }
        let (mut start, mut at) = (0, 0); // `start` of the current item in this piece
        while let Some(&byte) = piece.get(at) {
            match self.state {
                State::Element { depth, text, alone } => {
                    let mut inside = Inside { depth, text };
                    let Some((last, ends)) = inside.run(&piece[at..]) else {
                        self.state = State::Element { depth: inside.depth, text: inside.text, alone };
                        break;
                    };
                    let end = at + last + usize::from(ends == Ends::With);
                    self.state = match (alone, ends, piece[at + last]) {
                        (true, ..) | (false, Ends::Before, b']') => State::End,
                        (false, Ends::Before, b',') => State::BeforeElement { first: false },
                        (false, ..) => State::AfterElement,
                    };
                    self.finish_item(&piece[start..end], each);
                    at += last;
                }
                _ if byte.is_ascii_whitespace() => {}
                _ => {
                    start = at;
                    self.between(byte, self.position + at as u64)?;
                }
            }
            at += 1;
        }
        if matches!(self.state, State::Element { .. }) {
            self.keep(&piece[start..]);
        }
        self.position += piece.len() as u64;
        Ok(())
    }

    /// The body is complete.
    pub(crate) fn finish(mut self, each: &mut dyn FnMut(Item<'_>)) -> Result<(), SplitError> {
        match self.state {
            State::Line => {
                self.finish_line(&[], each);
                Ok(())
            }
            State::End => Ok(()),
            State::Begin | State::BeforeElement { .. } | State::Element { .. } | State::AfterElement => {
                Err(SplitError::Unfinished)
            }
        }
    }

    fn push_lines(&mut self, piece: &[u8], each: &mut dyn FnMut(Item<'_>)) {
        let mut rest = piece;
        while let Some(end) = rest.iter().position(|&b| b == b'\n') {
            self.finish_line(&rest[..end], each);
            rest = &rest[end + 1..];
        }
        self.keep(rest);
    }

    fn finish_line(&mut self, tail: &[u8], each: &mut dyn FnMut(Item<'_>)) {
        let blank = |part: &[u8]| part.iter().all(u8::is_ascii_whitespace);
        if !self.too_long && blank(&self.item) && blank(tail) {
            self.item.clear();
            return;
        }
        self.finish_item(tail, each);
    }

    /// One byte where no element is open.
    fn between(&mut self, byte: u8, at: u64) -> Result<(), SplitError> {
        let element = |alone| {
            let (depth, text) = match byte {
                b'{' | b'[' => (1, Text::Outside),
                b'"' => (0, Text::Inside),
                _ => (0, Text::Outside),
            };
            State::Element { depth, text, alone }
        };
        self.state = match (self.state, byte) {
            (State::Begin, b'[') => State::BeforeElement { first: true },
            (State::Begin, b'{') => element(true),
            (State::Begin, _) => return Err(SplitError::NoArray(at)),
            (State::BeforeElement { first: true }, b']') | (State::AfterElement, b']') => State::End,
            (State::BeforeElement { .. }, b',' | b']' | b'}' | b':') => {
                return Err(SplitError::NoElement(at));
            }
            (State::BeforeElement { .. }, _) => element(false),
            (State::AfterElement, b',') => State::BeforeElement { first: false },
            (State::AfterElement, _) => return Err(SplitError::NoSeparator(at)),
            (State::End, _) => return Err(SplitError::Trailing(at)),
            (open @ (State::Element { .. } | State::Line), _) => open,
        };
        Ok(())
    }

    fn finish_item(&mut self, tail: &[u8], each: &mut dyn FnMut(Item<'_>)) {
        if self.too_long || self.item.len() + tail.len() > self.item_bytes_max {
            each(Item::TooLong);
        } else if self.item.is_empty() {
            each(Item::Text(tail)); // the common case: the item lies in one piece and is not copied
        } else {
            self.item.extend_from_slice(tail);
            each(Item::Text(&self.item));
        }
        self.item.clear();
        self.too_long = false;
    }

    fn keep(&mut self, part: &[u8]) {
        if self.too_long || self.item.len() + part.len() > self.item_bytes_max {
            self.too_long = true;
            self.item.clear();
        } else {
            self.item.extend_from_slice(part);
        }
    }
}

/// Where in an element the reader is.
struct Inside {
    depth: u32,
    text: Text,
}

/// How an element ends at a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// The byte is its last one.
    With,
    /// The byte stands after it.
    Before,
}

impl Inside {
    /// Reads on to the end of the element: at which byte, and how. `None`: it does not end in these bytes.
    fn run(&mut self, bytes: &[u8]) -> Option<(usize, Ends)> {
        for (at, &byte) in bytes.iter().enumerate() {
            match (self.text, byte) {
                (Text::Outside, b'"') => self.text = Text::Inside,
                (Text::Outside, b'{' | b'[') => self.depth = self.depth.saturating_add(1),
                (Text::Outside, b'}' | b']') if self.depth > 1 => self.depth -= 1,
                (Text::Outside, b'}' | b']') if self.depth == 1 => return Some((at, Ends::With)),
                // At depth 0 the element is a bare word or text; these end it and stand after it.
                (Text::Outside, b',' | b']' | b'}') if self.depth == 0 => return Some((at, Ends::Before)),
                (Text::Outside, _) => {}
                (Text::Inside, b'"') => self.text = Text::Outside,
                (Text::Inside, b'\\') => self.text = Text::Escaped,
                (Text::Inside, _) => {}
                (Text::Escaped, _) => self.text = Text::Inside,
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut(shape: Shape, body: &[u8], piece: usize, max: usize) -> (Vec<String>, Result<(), SplitError>) {
        let mut items = Vec::new();
        let mut each = |item: Item<'_>| {
            items.push(match item {
                Item::Text(text) => String::from_utf8_lossy(text).trim().to_owned(),
                Item::TooLong => "(too long)".to_owned(),
            });
        };
        let mut splitter = Splitter::new(shape, max);
        let mut result = Ok(());
        for part in body.chunks(piece) {
            result = splitter.push(part, &mut each);
            if result.is_err() {
                break;
            }
        }
        let result = result.and_then(|()| splitter.finish(&mut each));
        (items, result)
    }

    #[test]
    fn elements_end_where_json_says_at_any_cut() {
        let body = br#" [ {"a":"]},\"{"} , {"b":[1,{"c":2}]},"x,]" , 12 ,nul] "#;
        for piece in 1..body.len() {
            let (items, result) = cut(Shape::Array, body, piece, 100);
            assert_eq!(result, Ok(()), "{piece}");
            let want = [r#"{"a":"]},\"{"}"#, r#"{"b":[1,{"c":2}]}"#, r#""x,]""#, "12", "nul"];
            assert_eq!(items, want, "{piece}");
        }
    }

    #[test]
    fn one_object_is_one_item_and_an_empty_array_is_none() {
        assert_eq!(cut(Shape::Array, br#"{"a":1} "#, 3, 100), (vec![r#"{"a":1}"#.to_owned()], Ok(())));
        assert_eq!(cut(Shape::Array, b" [ ] ", 1, 100), (vec![], Ok(())));
        assert_eq!(cut(Shape::Lines, b"", 1, 100), (vec![], Ok(())));
    }

    #[test]
    fn broken_arrays_are_named() {
        for (body, want) in [
            ("", SplitError::Unfinished),
            ("hello", SplitError::NoArray(0)),
            ("[{}", SplitError::Unfinished),
            ("[{},", SplitError::Unfinished),
            ("[{},]", SplitError::NoElement(4)),
            ("[,{}]", SplitError::NoElement(1)),
            ("[{} {}]", SplitError::NoSeparator(4)),
            ("[{}] x", SplitError::Trailing(5)),
            ("{}{}", SplitError::Trailing(2)),
        ] {
            for piece in [1, 100] {
                assert_eq!(cut(Shape::Array, body.as_bytes(), piece, 100).1, Err(want), "{body}");
            }
        }
    }

    #[test]
    fn an_item_past_the_limit_is_skipped_and_its_neighbours_are_not() {
        let long = "y".repeat(11);
        let lines = format!("{}\n{long}\n\r\nx\n{}", "x".repeat(10), "z".repeat(10));
        let array = format!("[\"{}\",\"{long}\",1]", "x".repeat(8));
        for piece in 1..lines.len() {
            let (items, result) = cut(Shape::Lines, lines.as_bytes(), piece, 10);
            assert_eq!(
                (items.len(), &*items[1], &*items[2], result),
                (4, "(too long)", "x", Ok(())),
                "{piece}"
            );
            let (items, result) = cut(Shape::Array, array.as_bytes(), piece, 10);
            assert_eq!(
                (items.len(), &*items[1], &*items[2], result),
                (3, "(too long)", "1", Ok(())),
                "{piece}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_cut_alike_in_any_pieces(body in prop::collection::vec(
            prop::sample::select(br#"[]{},:"\ax 1 "#.to_vec()), 0..60), piece in 1usize..20) {
            for shape in [Shape::Lines, Shape::Array] {
                prop_assert_eq!(cut(shape, &body, piece, 12), cut(shape, &body, 1000, 12));
            }
        }
    }
}
