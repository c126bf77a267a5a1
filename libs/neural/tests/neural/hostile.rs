//! Files that are no networks, or hostile ones: an error each time, never a panic, never more memory than the limits.

use crate::case::{Case, names};
use crate::write::{
    attribute, attributes, constant, field, file, input, int, ints, node, output, text, zeros,
};
use evenkeel_neural::{Network, NetworkError};
use evenkeel_onnx::{Column, Data, Dtype};
use proptest::prelude::*;

fn refused(graph: &[Vec<u8>]) -> String {
    Network::load(&file(graph)).unwrap_err().to_string()
}

/// Runs whatever was loaded over rows of its own types.
fn run_somehow(network: &Network) {
    let floats = [0.5_f32, -1.0];
    let mut columns = Vec::new();
    for spec in network.signature().inputs() {
        if spec.dtype != Dtype::F32 || spec.columns > 10_000 {
            return;
        }
        columns.extend((0..spec.columns).map(|_| Column::F32(&floats)));
    }
    let mut out: Vec<Data> = Vec::new();
    if network.run(&columns, 2, &mut out).is_ok() {
        for (data, spec) in out.iter().zip(network.signature().outputs()) {
            assert_eq!(data.len(), 2 * spec.columns, "{spec:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_real_network_with_broken_bytes_never_panics(
        which in any::<prop::sample::Index>(),
        places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let names = names();
        let mut bytes = Case::read(&names[which.index(names.len())]).file;
        for (index, byte) in places {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(network) = Network::load(&bytes) {
            run_somehow(&network);
        }
    }
}

#[test]
fn an_operator_that_is_not_let_through_is_named_with_its_node() {
    let error = refused(&[input("x", &[0, 4]), node("Einsum", &["x"], &["y"], &[]), output("y")]);
    assert!(
        error.starts_with("operator Einsum of node making \"y\" is not supported; of neural networks"),
        "{error}"
    );
    assert!(error.contains("Conv, Div, Dropout"), "{error}");
    let scaler = [&node("Scaler", &["x"], &["y"], &[])[2..], &field(7, b"ai.onnx.ml")].concat();
    let error = refused(&[input("x", &[0, 4]), field(1, &scaler), output("y")]);
    assert!(error.starts_with("operator ai.onnx.ml.Scaler of node"), "{error}");
}

/// tract would pass these over and give another score.
#[test]
fn what_tract_does_not_read_is_refused() {
    let lstm = |more: Vec<u8>| {
        let all = [attribute("hidden_size", 2), more];
        let x = node("LSTM", &["x", "w", "r"], &["y"], &all);
        refused(&[
            input("x", &[5, 1, 3]),
            zeros("w", &[1, 8, 3], 24),
            zeros("r", &[1, 8, 2], 16),
            x,
            output("y"),
        ])
    };
    assert!(lstm(text("direction", &["reverse"])).contains("its direction is \"reverse\""));
    assert!(
        lstm(text("activations", &["Relu", "Tanh", "Tanh"]))
            .contains("its activations are not the usual ones")
    );
    assert!(lstm(attribute("input_forget", 1)).contains("its attribute input_forget is not supported"));
    let pool = |more: Vec<u8>| {
        let x = node("MaxPool", &["x"], &["y"], &[attributes("kernel_shape", &[2]), more]);
        refused(&[input("x", &[0, 1, 5]), x, output("y")])
    };
    assert!(pool(attribute("ceil_mode", 1)).contains("node making \"y\" (MaxPool): its attribute ceil_mode"));
    let training = [attribute("training_mode", 1)];
    let x = node("BatchNormalization", &["x", "c", "c", "c", "c"], &["y"], &training);
    let error = refused(&[input("x", &[0, 2]), zeros("c", &[2], 2), x, output("y")]);
    assert!(error.contains("it is in training mode; export the model in evaluation mode"), "{error}");
}

/// Each would need gigabytes, or terabytes, if tract were let to compute it.
#[test]
fn values_that_grow_are_refused_before_they_are_made() {
    let wide = |graph: &[Vec<u8>]| {
        let error = Network::load(&file(graph)).unwrap_err();
        assert!(matches!(error, NetworkError::TooWide { .. }), "{error}");
    };
    let (x, y) = (input("x", &[0, 4]), output("y"));
    let sum = |a: &str| node("Add", &["x", a], &["y"], &[]);
    // Two constants of 256 KiB meet in 16 GiB.
    let (a, b) = (zeros("a", &[65_536, 1], 65_536), zeros("b", &[1, 65_536], 65_536));
    wide(&[x.clone(), a.clone(), b.clone(), node("MatMul", &["a", "b"], &["c"], &[]), sum("c"), y.clone()]);
    wide(&[x.clone(), a.clone(), b.clone(), node("Mul", &["a", "b"], &["c"], &[]), sum("c"), y.clone()]);
    // The same, and nobody reads it.
    wide(&[x.clone(), a, b, node("Add", &["a", "b"], &["c"], &[]), sum("x"), y.clone()]);
    let shape = ints("s", &[1 << 20, 1 << 20]);
    wide(&[x.clone(), shape.clone(), node("ConstantOfShape", &["s"], &["c"], &[]), sum("c"), y.clone()]);
    let expand =
        |rows: i64| [x.clone(), ints("t", &[rows, 4]), node("Expand", &["x", "t"], &["y"], &[]), y.clone()];
    wide(&expand(1 << 30));
    // More than tract's sizes hold: they come out as 0.
    assert!(refused(&expand(1 << 40)).contains("it has no cells"));
    let mut doubles = vec![x.clone()];
    doubles.extend((0..40).map(|i| {
        let (from, to) = (if i == 0 { "x".to_owned() } else { format!("v{i}") }, format!("v{}", i + 1));
        node("Concat", &[&from, &from], &[&to], &[attribute("axis", 1)])
    }));
    doubles.push(output("v40"));
    wide(&doubles);
    // Each value is small enough, and all of them are not.
    let mut many = vec![input("x", &[0, 1 << 20])];
    many.extend((0..80).map(|i| {
        node(
            "Relu",
            &[&if i == 0 { "x".to_owned() } else { format!("v{i}") }],
            &[&format!("v{}", i + 1)],
            &[],
        )
    }));
    // The answer itself is one number, so that it is not what is too large.
    many.push(zeros("k", &[1 << 20, 1], 1 << 20));
    many.push(node("MatMul", &["v80", "k"], &["y"], &[]));
    many.push(y.clone());
    wide(&many);
    // A batch of answers would be too large.
    wide(&[input("x", &[0, 5_000]), node("Relu", &["x"], &["y"], &[]), y.clone()]);
    // A kernel as long as its input, at as many places.
    let kernel = zeros("k", &[1, 1, 8_192], 8_192);
    wide(&[input("x", &[0, 1, 16_384]), kernel, node("Conv", &["x", "k"], &["y"], &[]), y]);
}

#[test]
fn sizes_in_attributes_have_bounds() {
    let pool = |kernel: &[i64]| {
        let x = node("MaxPool", &["x"], &["y"], &[attributes("kernel_shape", kernel)]);
        refused(&[input("x", &[0, 1, 5, 5]), x, output("y")])
    };
    assert!(
        pool(&[1 << 40, 1])
            .contains("its attribute kernel_shape is 1099511627776; it must be from 0 to 65536")
    );
    assert!(pool(&[-1, 1]).contains("its attribute kernel_shape is -1"));
    assert!(pool(&[60_000, 60_000]).contains("has more than 65536 places"));
}

#[test]
fn constants_are_what_they_say_and_in_the_file() {
    let sum =
        |c: Vec<u8>| refused(&[input("x", &[0, 2]), c, node("Add", &["x", "c"], &["y"], &[]), output("y")]);
    assert!(
        sum(zeros("c", &[1 << 40], 2)).starts_with("constant \"c\": a constant of shape [1099511627776]")
    );
    assert!(sum(zeros("c", &[-2], 2)).contains("a constant of shape [-2]"));
    assert!(sum(constant("c", &[2], 10, &[0; 4])).contains("a constant of type 10"));
    let elsewhere =
        [int(2, 1), field(8, b"c"), int(1, 2), field(13, &field(1, b"location")), int(14, 1)].concat();
    assert!(sum(field(5, &elsewhere)).contains("its cells are in another file"));
}

#[test]
fn names_hang_together() {
    let (x, y) = (input("x", &[0, 2]), output("y"));
    let relu = |from: &str, to: &str| node("Relu", &[from], &[to], &[]);
    assert!(
        refused(&[x.clone(), relu("z", "y"), y.clone()])
            .contains("its input \"z\" is made by no node before it")
    );
    assert!(refused(&[x.clone(), relu("x", "x"), y.clone()]).contains("value \"x\": is made twice"));
    assert!(refused(&[x.clone(), relu("x", "z"), y.clone()]).contains("output \"y\": no node makes it"));
    let open = refused(&[input("x", &[0, 0]), relu("x", "y"), y.clone()]);
    assert!(open.contains("input \"x\": its shape must be known but for one dimension, the rows"), "{open}");
    assert!(Network::load(b"").unwrap_err().to_string().starts_with("not an ONNX model"));
}

#[test]
fn what_tract_says_is_passed_on() {
    let product = node("MatMul", &["x", "c"], &["y"], &[]);
    let error = refused(&[input("x", &[0, 4]), zeros("c", &[5, 2], 10), product, output("y")]);
    assert!(error.starts_with("tract cannot work out the shapes of it: node \"y\": "), "{error}");
}
