//! Protocol buffers on the wire: one field after the other, borrowed from the bytes.
//!
//! Owns: tags, varints, lengths. Never: recursion (a caller opens a nested message when it knows which one it
//! is), an allocation, a read past the end.

/// What is wrong with the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The bytes end inside a field.
    #[error("the bytes end inside field {0}")]
    CutOff(u32),
    /// A varint of more than ten bytes.
    #[error("a number of more than 64 bits")]
    Varint,
    /// A tag that no field has.
    #[error("a field with number 0 or of an unknown form")]
    Tag,
    /// A field that has another form than ONNX gives it.
    #[error("field {0} has another form than ONNX gives it")]
    Form(u32),
}

/// A field's content.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Field<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
}

/// Reads the fields of one message.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next field: its number and content.
    pub fn next_field(&mut self) -> Result<Option<(u32, Field<'a>)>, WireError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint(0)?;
        let number = u32::try_from(tag >> 3).map_err(|_| WireError::Tag)?;
        if number == 0 {
            return Err(WireError::Tag);
        }
        let field = match tag & 7 {
            0 => Field::Varint(self.varint(number)?),
            1 => Field::Fixed64(u64::from_le_bytes(self.array(number)?)),
            2 => {
                let length = usize::try_from(self.varint(number)?).map_err(|_| WireError::CutOff(number))?;
                let (bytes, rest) = self.rest.split_at_checked(length).ok_or(WireError::CutOff(number))?;
                self.rest = rest;
                Field::Bytes(bytes)
            }
            5 => Field::Fixed32(u32::from_le_bytes(self.array(number)?)),
            _ => return Err(WireError::Tag),
        };
        Ok(Some((number, field)))
    }

    /// A varint outside a field: an element of a packed list.
    pub fn next_packed(&mut self) -> Result<Option<u64>, WireError> {
        if self.rest.is_empty() { Ok(None) } else { self.varint(0).map(Some) }
    }

    fn varint(&mut self, field: u32) -> Result<u64, WireError> {
        let mut value = 0_u64;
        for i in 0..10 {
            let (&byte, rest) = self.rest.split_first().ok_or(WireError::CutOff(field))?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                return if i == 9 && byte > 1 { Err(WireError::Varint) } else { Ok(value) };
            }
        }
        Err(WireError::Varint)
    }

    fn array<const N: usize>(&mut self, field: u32) -> Result<[u8; N], WireError> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(WireError::CutOff(field))?;
        self.rest = rest;
        Ok(*bytes)
    }
}

/// A field that must be bytes.
pub fn bytes(number: u32, field: Field<'_>) -> Result<&[u8], WireError> {
    if let Field::Bytes(bytes) = field { Ok(bytes) } else { Err(WireError::Form(number)) }
}

/// A field that must be a number.
pub fn int(number: u32, field: Field<'_>) -> Result<i64, WireError> {
    if let Field::Varint(value) = field { Ok(value as i64) } else { Err(WireError::Form(number)) }
}

/// A field that must be a float.
pub fn float(number: u32, field: Field<'_>) -> Result<f32, WireError> {
    if let Field::Fixed32(bits) = field { Ok(f32::from_bits(bits)) } else { Err(WireError::Form(number)) }
}

/// Appends a repeated number: packed, or one.
pub fn ints(number: u32, field: Field<'_>, into: &mut Vec<i64>) -> Result<(), WireError> {
    match field {
        Field::Varint(value) => into.push(value as i64),
        Field::Bytes(packed) => {
            let mut packed = Fields::new(packed);
            while let Some(value) = packed.next_packed()? {
                into.push(value as i64);
            }
        }
        _ => return Err(WireError::Form(number)),
    }
    Ok(())
}

/// Appends a repeated float: packed, or one.
pub fn floats(number: u32, field: Field<'_>, into: &mut Vec<f32>) -> Result<(), WireError> {
    match field {
        Field::Fixed32(bits) => into.push(f32::from_bits(bits)),
        Field::Bytes(packed) if packed.len() % 4 == 0 => {
            into.extend(packed.chunks_exact(4).map(|c| f32::from_le_bytes([c[0], c[1], c[2], c[3]])));
        }
        _ => return Err(WireError::Form(number)),
    }
    Ok(())
}

/// Appends a repeated double: packed, or one.
pub fn doubles(number: u32, field: Field<'_>, into: &mut Vec<f64>) -> Result<(), WireError> {
    match field {
        Field::Fixed64(bits) => into.push(f64::from_bits(bits)),
        Field::Bytes(packed) if packed.len() % 8 == 0 => {
            let eight = |c: &[u8]| f64::from_le_bytes([c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]]);
            into.extend(packed.chunks_exact(8).map(eight));
        }
        _ => return Err(WireError::Form(number)),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(bytes: &[u8]) -> Result<Vec<(u32, Field<'_>)>, WireError> {
        let (mut reader, mut found) = (Fields::new(bytes), Vec::new());
        while let Some(field) = reader.next_field()? {
            found.push(field);
        }
        Ok(found)
    }

    #[test]
    fn fields_of_each_form() {
        let read = fields(&[0x08, 0x96, 0x01, 0x12, 0x02, b'h', b'i', 0x1d, 0, 0, 0x80, 0x3f]).unwrap();
        assert_eq!(read[0], (1, Field::Varint(150)));
        assert_eq!(read[1], (2, Field::Bytes(b"hi")));
        assert_eq!(float(3, read[2].1), Ok(1.0));
    }

    #[test]
    fn what_is_cut_off_or_never_ends_is_refused() {
        assert_eq!(fields(&[0x12, 0x05, b'h']), Err(WireError::CutOff(2)));
        assert_eq!(
            fields(&[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
            Err(WireError::CutOff(2))
        );
        assert_eq!(fields(&[0x1d, 0, 0]), Err(WireError::CutOff(3)));
        assert_eq!(fields(&[0xff; 11]), Err(WireError::Varint));
        assert_eq!(fields(&[0x00]), Err(WireError::Tag));
        assert_eq!(fields(&[0x0b]), Err(WireError::Tag), "groups are no part of ONNX");
    }
}
