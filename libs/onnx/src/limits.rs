//! How large a model may be. Each limit is far above what exporters write, and bounds what a hostile file can
//! make us allocate: at most 24 bytes per byte of the file, plus 16 MiB (tests/allocations.rs).

/// Largest model file, bytes.
pub const MODEL_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Most nodes of a graph.
pub const NODES_MAX: usize = 8_192;
/// Most inputs, outputs or initializers of a graph, and names of one node.
pub const NAMES_MAX: usize = 8_192;
/// Most attributes of a node.
pub const ATTRIBUTES_MAX: usize = 64;
/// Most dimensions of a shape.
pub const DIMENSIONS_MAX: usize = 6;
/// Most metadata properties and operator sets.
pub const PROPERTIES_MAX: usize = 1_024;
/// Most columns of all values of a graph together.
pub const COLUMNS_MAX: usize = 1_048_576;
/// Most cells (columns × rows) of a block: wide graphs take smaller blocks.
pub const BLOCK_CELLS_MAX: usize = 2_097_152;
/// Most comparisons on the way from a root to a leaf.
pub const TREE_DEPTH_MAX: u32 = 4_096;
