//! Model, graph, node, attribute, tensor, and the types of inputs and outputs.

use super::wire::{Field, Fields, WireError, bytes, doubles, float, floats, int, ints};
use crate::error::LoadError;
use crate::limits::{ATTRIBUTES_MAX, NAMES_MAX, NODES_MAX, PROPERTIES_MAX};

impl From<WireError> for LoadError {
    fn from(error: WireError) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// `ModelProto`
#[derive(Debug)]
pub struct Message<'a> {
    /// Domain (empty = the default one) and version.
    pub opsets: Vec<(&'a str, i64)>,
    /// Key and value of each metadata property.
    pub metadata: Vec<(&'a str, &'a str)>,
    /// The graph.
    pub graph: Graph<'a>,
}

/// `GraphProto`
#[derive(Debug, Default)]
pub struct Graph<'a> {
    /// In the order of the file.
    pub nodes: Vec<Node<'a>>,
    /// Constants by name.
    pub initializers: Vec<Tensor<'a>>,
    /// What it takes; a name that is an initializer's too may be left out.
    pub inputs: Vec<Port<'a>>,
    /// What it gives.
    pub outputs: Vec<Port<'a>>,
}

/// `NodeProto`
#[derive(Debug, Default)]
pub struct Node<'a> {
    /// Its name; often empty.
    pub name: &'a str,
    /// The operator.
    pub op: &'a str,
    /// The operator's domain; empty = the default one.
    pub domain: &'a str,
    /// Names of values; empty = left out.
    pub inputs: Vec<&'a str>,
    /// Names of values; empty = nobody wants it.
    pub outputs: Vec<&'a str>,
    /// Its attributes.
    pub attributes: Vec<Attribute<'a>>,
}

/// `AttributeProto`
#[derive(Debug)]
pub struct Attribute<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its value.
    pub value: Value<'a>,
}

/// The one value of an attribute.
#[derive(Debug)]
pub enum Value<'a> {
    /// `FLOAT`
    Float(f32),
    /// `INT`
    Int(i64),
    /// `STRING`; perhaps not UTF-8.
    Text(&'a [u8]),
    /// `TENSOR`
    Tensor(Box<Tensor<'a>>),
    /// `FLOATS`
    Floats(Vec<f32>),
    /// `INTS`
    Ints(Vec<i64>),
    /// `STRINGS`; perhaps not UTF-8.
    Texts(Vec<&'a [u8]>),
    /// A graph, a sparse tensor, a type: nothing here takes one.
    Other,
}

/// `TensorProto`
#[derive(Debug, Default)]
pub struct Tensor<'a> {
    /// Its name; empty in an attribute.
    pub name: &'a str,
    /// Its dimensions, as the file says: perhaps negative, perhaps not those of its cells.
    pub dims: Vec<i64>,
    /// The number of its type.
    pub dtype: i64,
    /// The cells as bytes, little-endian; else they are in one of the lists below.
    pub raw: Option<&'a [u8]>,
    /// `float_data`
    pub floats: Vec<f32>,
    /// `double_data`
    pub doubles: Vec<f64>,
    /// `int32_data` and `int64_data`; bools too.
    pub ints: Vec<i64>,
    /// `string_data`
    pub texts: Vec<&'a [u8]>,
    /// The cells are in another file.
    pub external: bool,
}

/// `ValueInfoProto`
#[derive(Debug, Default)]
pub struct Port<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its type.
    pub kind: TypeName,
}

/// `TypeProto`
#[derive(Debug, Default, PartialEq, Eq)]
pub enum TypeName {
    /// A tensor: the number of its type, and its dimensions (`None` = any, or named) if they are given.
    Tensor(i64, Option<Vec<Option<i64>>>),
    /// A sequence (of maps: what ZipMap makes), a map, an optional.
    #[default]
    Other,
}

fn text(number: u32, field: Field<'_>) -> Result<&str, LoadError> {
    std::str::from_utf8(bytes(number, field)?)
        .map_err(|_| LoadError::Malformed(format!("field {number} is not UTF-8 text")))
}

fn push<T>(list: &mut Vec<T>, item: T, what: &'static str, max: usize) -> Result<(), LoadError> {
    if list.len() >= max {
        return Err(LoadError::TooMany { what, max });
    }
    list.push(item);
    Ok(())
}

impl<'a> Message<'a> {
    /// Reads a file; nothing of it is judged but that it is ONNX with a graph and within the limits of
    /// [`crate::limits`].
    pub fn read(file: &'a [u8]) -> Result<Self, LoadError> {
        let (mut fields, mut graph) = (Fields::new(file), None);
        let (mut opsets, mut metadata) = (Vec::new(), Vec::new());
        while let Some((number, field)) = fields.next_field()? {
            match number {
                7 => graph = Some(Graph::read(bytes(number, field)?)?),
                8 => push(&mut opsets, opset(bytes(number, field)?)?, "operator sets", PROPERTIES_MAX)?,
                14 => push(&mut metadata, property(bytes(number, field)?)?, "properties", PROPERTIES_MAX)?,
                _ => {}
            }
        }
        let graph = graph.ok_or_else(|| LoadError::Malformed("it holds no graph".to_owned()))?;
        Ok(Self { opsets, metadata, graph })
    }
}

fn opset(message: &[u8]) -> Result<(&str, i64), LoadError> {
    let (mut fields, mut found) = (Fields::new(message), ("", 0));
    while let Some((number, field)) = fields.next_field()? {
        match number {
            1 => found.0 = text(number, field)?,
            2 => found.1 = int(number, field)?,
            _ => {}
        }
    }
    Ok(found)
}

fn property(message: &[u8]) -> Result<(&str, &str), LoadError> {
    let (mut fields, mut found) = (Fields::new(message), ("", ""));
    while let Some((number, field)) = fields.next_field()? {
        match number {
            1 => found.0 = text(number, field)?,
            2 => found.1 = text(number, field)?,
            _ => {}
        }
    }
    Ok(found)
}

impl<'a> Graph<'a> {
    fn read(message: &'a [u8]) -> Result<Self, LoadError> {
        let (mut fields, mut graph) = (Fields::new(message), Self::default());
        while let Some((number, field)) = fields.next_field()? {
            match number {
                1 => push(&mut graph.nodes, Node::read(bytes(number, field)?)?, "nodes", NODES_MAX)?,
                5 => {
                    let tensor = Tensor::read(bytes(number, field)?)?;
                    push(&mut graph.initializers, tensor, "initializers", NAMES_MAX)?;
                }
                11 => push(&mut graph.inputs, Port::read(bytes(number, field)?)?, "inputs", NAMES_MAX)?,
                12 => push(&mut graph.outputs, Port::read(bytes(number, field)?)?, "outputs", NAMES_MAX)?,
                _ => {}
            }
        }
        Ok(graph)
    }
}

impl<'a> Node<'a> {
    fn read(message: &'a [u8]) -> Result<Self, LoadError> {
        let (mut fields, mut node) = (Fields::new(message), Self::default());
        while let Some((number, field)) = fields.next_field()? {
            match number {
                1 => push(&mut node.inputs, text(number, field)?, "inputs of a node", NAMES_MAX)?,
                2 => push(&mut node.outputs, text(number, field)?, "outputs of a node", NAMES_MAX)?,
                3 => node.name = text(number, field)?,
                4 => node.op = text(number, field)?,
                5 => {
                    let attribute = Attribute::read(bytes(number, field)?)?;
                    push(&mut node.attributes, attribute, "attributes of a node", ATTRIBUTES_MAX)?;
                }
                7 => node.domain = text(number, field)?,
                _ => {}
            }
        }
        Ok(node)
    }
}

impl<'a> Attribute<'a> {
    fn read(message: &'a [u8]) -> Result<Self, LoadError> {
        let (mut fields, mut name, mut declared) = (Fields::new(message), "", 0);
        let (mut f, mut i, mut s, mut t) = (0.0, 0, &message[..0], None);
        let (mut all_floats, mut all_ints, mut texts) = (Vec::new(), Vec::new(), Vec::new());
        while let Some((number, field)) = fields.next_field()? {
            match number {
                1 => name = text(number, field)?,
                2 => f = float(number, field)?,
                3 => i = int(number, field)?,
                4 => s = bytes(number, field)?,
                5 => t = Some(Tensor::read(bytes(number, field)?)?),
                7 => floats(number, field, &mut all_floats)?,
                8 => ints(number, field, &mut all_ints)?,
                9 => texts.push(bytes(number, field)?),
                20 => declared = int(number, field)?,
                _ => {}
            }
        }
        let value = match declared {
            1 => Value::Float(f),
            2 => Value::Int(i),
            3 => Value::Text(s),
            4 => Value::Tensor(Box::new(t.unwrap_or_default())),
            6 => Value::Floats(all_floats),
            7 => Value::Ints(all_ints),
            8 => Value::Texts(texts),
            _ => Value::Other,
        };
        Ok(Self { name, value })
    }
}

impl<'a> Tensor<'a> {
    fn read(message: &'a [u8]) -> Result<Self, LoadError> {
        let (mut fields, mut tensor) = (Fields::new(message), Self::default());
        while let Some((number, field)) = fields.next_field()? {
            match number {
                1 => ints(number, field, &mut tensor.dims)?,
                2 => tensor.dtype = int(number, field)?,
                4 => floats(number, field, &mut tensor.floats)?,
                5 | 7 => ints(number, field, &mut tensor.ints)?,
                6 => tensor.texts.push(bytes(number, field)?),
                8 => tensor.name = text(number, field)?,
                9 => tensor.raw = Some(bytes(number, field)?),
                10 => doubles(number, field, &mut tensor.doubles)?,
                13 => tensor.external = true,
                14 => tensor.external |= int(number, field)? == 1,
                _ => {}
            }
        }
        Ok(tensor)
    }
}

impl<'a> Port<'a> {
    fn read(message: &'a [u8]) -> Result<Self, LoadError> {
        let (mut fields, mut port) = (Fields::new(message), Self::default());
        while let Some((number, field)) = fields.next_field()? {
            match number {
                1 => port.name = text(number, field)?,
                2 => port.kind = type_name(bytes(number, field)?)?,
                _ => {}
            }
        }
        Ok(port)
    }
}

fn type_name(message: &[u8]) -> Result<TypeName, LoadError> {
    let (mut fields, mut found) = (Fields::new(message), TypeName::Other);
    while let Some((number, field)) = fields.next_field()? {
        if number == 1 {
            found = tensor_type(bytes(number, field)?)?;
        }
    }
    Ok(found)
}

fn tensor_type(message: &[u8]) -> Result<TypeName, LoadError> {
    let (mut fields, mut dtype, mut shape) = (Fields::new(message), 0, None);
    while let Some((number, field)) = fields.next_field()? {
        match number {
            1 => dtype = int(number, field)?,
            2 => shape = Some(dimensions(bytes(number, field)?)?),
            _ => {}
        }
    }
    Ok(TypeName::Tensor(dtype, shape))
}

fn dimensions(message: &[u8]) -> Result<Vec<Option<i64>>, LoadError> {
    let (mut fields, mut dims) = (Fields::new(message), Vec::new());
    while let Some((number, field)) = fields.next_field()? {
        if number == 1 {
            let (mut inner, mut size) = (Fields::new(bytes(number, field)?), None);
            while let Some((number, field)) = inner.next_field()? {
                if number == 1 {
                    size = Some(int(number, field)?);
                }
            }
            push(&mut dims, size, "dimensions", NAMES_MAX)?;
        }
    }
    Ok(dims)
}
