//! Every network, to 1e-5 of onnxruntime.

use crate::case::{Case, names};
use evenkeel_neural::Network;
use evenkeel_onnx::{Column, Data, Model};

#[test]
fn every_network_answers_as_onnxruntime() {
    let names = names();
    assert!(names.len() >= 7, "{names:?}");
    let mut findings = Vec::new();
    for case in names.iter().map(|name| Case::read(name)) {
        let network = match Network::load(&case.file) {
            Ok(network) => network,
            Err(error) => {
                findings.push(format!("{}: {error}", case.name));
                continue;
            }
        };
        let made = case.run(&network, 0..case.rows);
        assert_eq!(made.len(), case.answers.len(), "{}", case.name);
        for ((data, spec), (name, answer)) in
            made.iter().zip(network.signature().outputs()).zip(&case.answers)
        {
            assert_eq!((&spec.name, spec.columns), (name, answer[0].len()), "{}", case.name);
            for (r, row) in answer.iter().enumerate() {
                for (c, want) in row.iter().enumerate() {
                    let got = data.number(c * case.rows + r).unwrap();
                    if (got - want).abs() > 1e-5 * want.abs().max(1.0) {
                        findings.push(format!("{} {name} row {r} column {c}: {got}, not {want}", case.name));
                    }
                }
            }
        }
    }
    assert!(
        findings.is_empty(),
        "{} differences\n  {}",
        findings.len(),
        findings[..9.min(findings.len())].join("\n  ")
    );
}

/// They are here because our own evaluator does not have their operators: else they belong into tests/models/cases.
#[test]
fn none_of_them_is_a_model_of_our_own_evaluator() {
    for name in names() {
        assert!(Model::load(&Case::read(&name).file).is_err(), "{name}");
    }
}

/// To the bit: a score that is made again after a crash, beside other rows, is the same score.
#[test]
fn a_row_s_answer_does_not_depend_on_its_neighbours() {
    for name in ["convolution", "dense", "lstm", "gru"] {
        let case = Case::read(name);
        let network = case.load();
        let all = case.run(&network, 0..case.rows);
        for row in (0..case.rows).rev() {
            for (all, one) in all.iter().zip(case.run(&network, row..row + 1)) {
                let columns = one.len();
                for c in 0..columns {
                    let (all, one) = (all.number(c * case.rows + row).unwrap(), one.number(c).unwrap());
                    assert_eq!(all.to_bits(), one.to_bits(), "{name} row {row} column {c}");
                }
            }
        }
    }
}

#[test]
fn one_output_alone_is_the_same() {
    let case = Case::read("rules");
    let all = case.run(&case.load(), 0..case.rows);
    for index in [0, 40, all.len() - 1] {
        let only = case.load().only(index);
        assert_eq!(only.signature().outputs().len(), 1);
        assert_eq!(only.signature().outputs()[0].name, case.answers[index].0);
        assert_eq!(case.run(&only, 0..case.rows), all[index..=index]);
    }
    assert_eq!(case.load().only(all.len()).signature().outputs().len(), all.len());
}

/// Relu makes 0 of NaN in one runtime and NaN in another: a network that does not know of missing numbers has no answer.
#[test]
fn a_row_with_a_missing_number_has_no_answer_and_the_others_have_theirs() {
    let mut case = Case::read("dense");
    let network = case.load();
    let whole = case.run(&network, 0..case.rows);
    case.columns[3][1] = f32::NAN;
    let made = case.run(&network, 0..case.rows);
    for row in 0..case.rows {
        match row {
            1 => assert!(made[0].number(1).unwrap().is_nan()),
            row => assert_eq!(made[0].number(row), whole[0].number(row)),
        }
    }
}

#[test]
fn the_columns_of_a_network_are_checked_as_those_of_a_model() {
    let case = Case::read("convolution");
    let network = case.load();
    assert_eq!(
        (network.signature().inputs()[0].columns, network.signature().inputs()[0].name.as_str()),
        (48, "x")
    );
    assert!(network.signature().metadata("features").unwrap().starts_with("weight.mean@15,weight.mean@14,"));
    let columns: Vec<Column<'_>> = case.columns.iter().map(|c| Column::F32(c)).collect();
    let mut out: Vec<Data> = Vec::new();
    let error = network.run(&columns[1..], case.rows, &mut out).unwrap_err().to_string();
    assert_eq!(error, "47 columns were given, the model takes 48");
    let error = network.run(&columns, 7, &mut out).unwrap_err().to_string();
    assert!(error.contains("has 24 rows"), "{error}");
    let doubles = vec![0.5; case.rows];
    let mut columns = columns;
    columns[2] = Column::F64(&doubles);
    let error = network.run(&columns, case.rows, &mut out).unwrap_err().to_string();
    assert_eq!(error, "column 2 of input \"x\" is double, the model takes float");
}
