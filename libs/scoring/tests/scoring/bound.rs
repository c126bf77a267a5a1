//! Models bound to the columns of a frame.

use evenkeel_scoring::{
    BindError, Bound, Engine, Frame, FrameColumn, Memory, Model, Runtime, ScoreError, Wanted,
};

fn bound(name: &str, wanted: Wanted) -> Result<Model, BindError> {
    let path = format!("{}/../../tests/models/cases/{name}.onnx", env!("CARGO_MANIFEST_DIR"));
    let model = Engine::load(&std::fs::read(path).unwrap(), &Runtime::Auto).unwrap();
    Ok(Model::Onnx(Box::new(Bound::new(model, wanted)?)))
}

fn frame(columns: &[(&str, &[&str])]) -> Frame {
    let of = |(name, cells): &(&str, &[&str])| {
        FrameColumn::of_cells((*name).to_owned(), cells.iter().map(|&c| c.to_owned()).collect())
    };
    Frame { columns: columns.iter().map(of).collect(), rows: columns[0].1.len() }
}

fn features(names: &[&str]) -> Wanted {
    Wanted { features: names.iter().map(|&n| n.to_owned()).collect(), ..Wanted::default() }
}

const BOWLS: [(&str, &[&str]); 5] = [
    ("room", &["attic", "NA", "hall"]),
    ("id", &["1", "2", "3"]),
    ("visits", &["4", "NA", "2"]),
    ("weight_max", &["430", "431.5", "500"]),
    ("weight_mean", &["380", "", "470"]),
];

#[test]
fn columns_are_matched_by_name_whatever_their_order() {
    let model = bound("mixed_logistic", Wanted::default()).unwrap();
    let (frame, mut reversed) = (frame(&BOWLS), frame(&BOWLS));
    reversed.columns.reverse();
    let mut memory = Memory::default();
    let mut scores = |frame: &Frame| {
        let binding = model.bind(frame).unwrap();
        model
            .score_rows(&binding, frame, 0..3, &mut memory)
            .into_iter()
            .map(Result::unwrap)
            .collect::<Vec<_>>()
    };
    let made = scores(&frame);
    assert_eq!(made, scores(&reversed));
    assert!(made.iter().all(|s| (0.0..=1.0).contains(s)), "{made:?}");
    let binding = model.bind(&frame).unwrap();
    let one = model.score(&binding, &frame, 1, &mut memory).unwrap();
    assert_eq!(one, made[1], "NA in the text column is a category, in the others a gap");
}

#[test]
fn one_input_takes_the_named_columns_else_all_numbers_in_order() {
    let cells: Vec<Vec<String>> = (0..7).map(|c| vec![format!("0.{c}"), format!("-0.{c}")]).collect();
    let column = |c: usize| FrameColumn::of_cells(format!("c{c}"), cells[c].clone());
    let mut frame = Frame { columns: (0..6).map(column).collect(), rows: 2 };
    frame.columns.insert(2, FrameColumn::of_cells("name".into(), vec!["a".into(), "b".into()]));
    let mut memory = Memory::default();
    let mut score = |wanted: Wanted, frame: &Frame| {
        let model = bound("linear_regression", wanted)?;
        let binding = model.bind(frame)?;
        Ok::<f64, BindError>(model.score(&binding, frame, 0, &mut memory).unwrap())
    };
    let all = score(Wanted::default(), &frame).unwrap();
    assert_eq!(score(features(&["c0", "c1", "c2", "c3", "c4", "c5"]), &frame), Ok(all));
    assert_ne!(score(features(&["c5", "c1", "c2", "c3", "c4", "c0"]), &frame), Ok(all));
    frame.columns.push(column(6));
    let error = score(Wanted::default(), &frame).unwrap_err().to_string();
    assert!(
        error.starts_with("the model's input \"X\" takes 6 columns; 7 columns of numbers are there: c0, c1"),
        "{error}"
    );
    let error = score(features(&["c0", "c1", "c2", "c3", "c4", "name"]), &frame).unwrap_err().to_string();
    assert_eq!(error, "column \"name\" must hold numbers; row 1 holds \"a\"");
}

#[test]
fn what_is_missing_or_of_another_type_is_named() {
    let model = bound("mixed_logistic", Wanted::default()).unwrap();
    let refused = |columns: &[(&str, &[&str])]| model.bind(&frame(columns)).unwrap_err().to_string();
    let error = refused(&BOWLS[..4]);
    assert_eq!(
        error,
        "no column \"weight_mean\", which the model takes; the columns are: room, id, visits, weight_max"
    );
    let mut wrong = BOWLS;
    wrong[4].1 = &["380", "full", "470"];
    assert_eq!(refused(&wrong), "column \"weight_mean\" must hold numbers; row 2 holds \"full\"");
    wrong[4].1 = &["", "", "NA"];
    assert_eq!(refused(&wrong), "column \"weight_mean\" must hold numbers; all its cells are empty");
}

#[test]
fn the_score_is_the_positive_class_s_probability() {
    let frame = frame(&BOWLS);
    let mut memory = Memory::default();
    let mut score = |class: &str| {
        let wanted = Wanted { positive_class: class.to_owned(), ..Wanted::default() };
        let model = bound("mixed_forest_names", wanted)?;
        let binding = model.bind(&frame)?;
        Ok::<f64, BindError>(model.score(&binding, &frame, 0, &mut memory).unwrap())
    };
    let (rests, eats) = (score("rests").unwrap(), score("eats").unwrap());
    assert_eq!(score(""), Ok(rests), "the second of two classes");
    assert!((rests + eats - 1.0).abs() < 1e-6);
    assert_eq!(
        score("sleeps").unwrap_err().to_string(),
        "the model has no class \"sleeps\"; it has eats, rests"
    );
    let error = bound("logistic_three", Wanted::default()).unwrap_err().to_string();
    assert!(error.starts_with("the model tells low, mid, top apart; name the one"), "{error}");
}

#[test]
fn a_row_that_cannot_be_scored_costs_that_row_only() {
    let numbers: [&[&str]; 6] = [
        &["1", "2", "3"],
        &["1", "", "3"],
        &["0", "0", "0"],
        &["1", "1", "1"],
        &["2", "2", "2"],
        &["5", "5", "5"],
    ];
    let names = ["a", "b", "c", "d", "e", "f"];
    let columns: Vec<(&str, &[&str])> = names.into_iter().zip(numbers).collect();
    let frame = frame(&columns);
    let mut memory = Memory::default();
    for (name, part) in [
        ("linear_regression", "the score is NaN; is a number missing"),
        ("binarizer", "NaN cannot be binarized"),
    ] {
        let model = bound(name, Wanted::default()).unwrap();
        let binding = model.bind(&frame).unwrap();
        let scores = model.score_rows(&binding, &frame, 0..3, &mut memory);
        assert!(scores[0].is_ok() && scores[2].is_ok());
        let error = scores[1].as_ref().unwrap_err();
        assert!(matches!(error, ScoreError::Refused { row: 1, .. } | ScoreError::NotANumber { row: 1, .. }));
        assert!(error.to_string().starts_with("row 2: ") && error.to_string().contains(part), "{error}");
    }
}
