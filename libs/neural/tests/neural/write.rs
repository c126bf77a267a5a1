//! Small ONNX files, written field by field: also such as no exporter writes.

pub fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = varint(u64::from(number) << 3 | 2);
    out.extend(varint(content.len() as u64));
    out.extend_from_slice(content);
    out
}

pub fn int(number: u8, value: i64) -> Vec<u8> {
    let mut out = varint(u64::from(number) << 3);
    out.extend(varint(value as u64));
    out
}

fn varint(mut n: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
    out
}

/// An attribute: one whole number.
pub fn attribute(name: &str, value: i64) -> Vec<u8> {
    field(5, &[field(1, name.as_bytes()), int(3, value), int(20, 2)].concat())
}

/// An attribute: whole numbers.
pub fn attributes(name: &str, values: &[i64]) -> Vec<u8> {
    let values: Vec<u8> = values.iter().flat_map(|&v| int(8, v)).collect();
    field(5, &[field(1, name.as_bytes()), values, int(20, 7)].concat())
}

/// An attribute: texts, or one.
pub fn text(name: &str, values: &[&str]) -> Vec<u8> {
    let (number, kind) = if values.len() == 1 { (4, 3) } else { (9, 8) };
    let values: Vec<u8> = values.iter().flat_map(|v| field(number, v.as_bytes())).collect();
    field(5, &[field(1, name.as_bytes()), values, int(20, kind)].concat())
}

pub fn node(op: &str, inputs: &[&str], outputs: &[&str], attributes: &[Vec<u8>]) -> Vec<u8> {
    let mut node: Vec<u8> = inputs.iter().flat_map(|name| field(1, name.as_bytes())).collect();
    node.extend(outputs.iter().flat_map(|name| field(2, name.as_bytes())));
    node.extend(field(4, op.as_bytes()));
    node.extend(attributes.concat());
    field(1, &node)
}

/// A constant of floats, all zero.
pub fn zeros(name: &str, dims: &[i64], cells: usize) -> Vec<u8> {
    constant(name, dims, 1, &vec![0; cells * 4])
}

/// A constant of whole numbers.
pub fn ints(name: &str, values: &[i64]) -> Vec<u8> {
    let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    constant(name, &[values.len() as i64], 7, &raw)
}

pub fn constant(name: &str, dims: &[i64], kind: i64, raw: &[u8]) -> Vec<u8> {
    let dims: Vec<u8> = dims.iter().flat_map(|&d| int(1, d)).collect();
    field(5, &[dims, int(2, kind), field(8, name.as_bytes()), field(9, raw)].concat())
}

/// An input of floats; 0 = open.
pub fn input(name: &str, dims: &[i64]) -> Vec<u8> {
    let dim = |&d: &i64| field(1, &if d == 0 { field(2, b"rows") } else { int(1, d) });
    let shape: Vec<u8> = dims.iter().flat_map(dim).collect();
    let tensor = [int(1, 1), field(2, &shape)].concat();
    field(11, &[field(1, name.as_bytes()), field(2, &field(1, &tensor))].concat())
}

pub fn output(name: &str) -> Vec<u8> {
    field(12, &field(1, name.as_bytes()))
}

/// A file with operator set 17.
pub fn file(graph: &[Vec<u8>]) -> Vec<u8> {
    [field(7, &graph.concat()), field(8, &int(2, 17))].concat()
}
