//! How large a network may be, beyond the limits of [`evenkeel_onnx::limits`], which hold for the file.

/// Largest file, bytes. tract keeps some four copies of the constants while it loads.
pub const NETWORK_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Most cells of one value.
pub const CELLS_MAX: usize = 16 * 1024 * 1024;
/// Most cells of all values together: constants, inputs, and what the nodes make of one row.
pub const ALL_CELLS_MAX: usize = 64 * 1024 * 1024;
/// Most cells of an output: a batch of rows is answered at once.
pub const OUTPUT_CELLS_MAX: usize = 4_096;
/// Largest number in an attribute that is a size: of a kernel, a padding, a hidden state; and most places of a kernel.
pub const EXTENT_MAX: i64 = 65_536;
