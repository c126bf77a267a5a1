//! Every golden case, to 1e-5 of onnxruntime.

use crate::case::{Case, differences, directory};
use evenkeel_onnx::{Data, Labels, Model, Workspace};

fn names() -> Vec<String> {
    let files = std::fs::read_dir(directory()).unwrap();
    let mut names: Vec<String> = files
        .filter_map(|file| file.unwrap().file_name().to_str()?.strip_suffix(".onnx").map(str::to_owned))
        .collect();
    names.sort();
    names
}

#[test]
fn every_model_answers_as_onnxruntime() {
    let names = names();
    assert!(names.len() >= 30, "{names:?}");
    let mut findings = Vec::new();
    for case in names.iter().map(|name| Case::read(name)) {
        let model = match Model::load(&case.model) {
            Ok(model) => model,
            Err(error) => {
                findings.push(format!("{}: {error}", case.name));
                continue;
            }
        };
        let (mut work, mut out) = (Workspace::default(), Vec::new());
        if let Err(error) = model.run(&case.columns(0..case.rows), case.rows, &mut work, &mut out) {
            findings.push(format!("{}: {error}", case.name));
            continue;
        }
        for ((data, spec), (name, answer)) in out.iter().zip(model.signature().outputs()).zip(&case.answers) {
            assert_eq!(&spec.name, name);
            let different = differences(data, answer, case.rows);
            findings.extend(different.iter().take(2).map(|d| format!("{} {name}: {d}", case.name)));
        }
    }
    assert!(findings.is_empty(), "{} differences\n  {}", findings.len(), findings.join("\n  "));
}

/// Blocks are an inner matter: any number of rows gives what one row at a time gives.
#[test]
fn many_rows_are_what_single_rows_are() {
    for name in ["mixed_forest_names", "gradient_boosting_three", "lightgbm", "logistic_three", "naive_bayes"]
    {
        let mut case = Case::read(name);
        case.repeat(17); // 680 rows: three blocks, the last one short
        let model = case.load();
        let (mut work, mut all, mut one) = (Workspace::default(), Vec::new(), Vec::new());
        model.run(&case.columns(0..case.rows), case.rows, &mut work, &mut all).unwrap();
        for row in 0..case.rows {
            model.run(&case.columns(row..row + 1), 1, &mut work, &mut one).unwrap();
            for ((all, one), spec) in all.iter().zip(&one).zip(model.signature().outputs()) {
                for c in 0..spec.columns {
                    let at = c * case.rows + row;
                    assert_eq!(all.number(at), one.number(c), "{name} row {row}");
                    if let (Data::Text(all), Data::Text(one)) = (all, one) {
                        assert_eq!(all.get(at), one.get(c));
                    }
                }
            }
        }
    }
}

#[test]
fn one_output_alone_is_the_same_and_needs_no_labels() {
    let case = Case::read("mixed_logistic");
    let (mut work, mut all, mut one) = (Workspace::default(), Vec::new(), Vec::new());
    case.load().run(&case.columns(0..case.rows), case.rows, &mut work, &mut all).unwrap();
    let only = case.load().only(1);
    assert_eq!(only.signature().outputs().len(), 1);
    assert_eq!(only.signature().outputs()[0].classes, Some(Labels::Ints(vec![0, 1])));
    only.run(&case.columns(0..case.rows), case.rows, &mut work, &mut one).unwrap();
    assert_eq!(one, all[1..]);
}
