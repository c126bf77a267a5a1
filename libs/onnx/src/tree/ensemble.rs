//! TreeEnsembleClassifier and TreeEnsembleRegressor: votes of leaves become scores and labels.
//!
//! Where the standard is vague (two classes with one score, base values of such, labels without a vote), the
//! rules are those of onnxruntime, because that is what users compare with; tests/models/rules.py has each.

use super::forest::{Branch, Forest, Mode, Modes};
use super::layout::Layout;
use crate::BLOCK_ROWS;
use crate::data::Data;
use crate::graph::Site;
use crate::kind::{Dtype, Kind};
use crate::ops::{Built, Op, labels, put_labels};
use crate::post::{Transform, logistic, probit};
use crate::signature::Labels;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aggregate {
    Sum,
    Average,
    Min,
    Max,
}

#[derive(Debug)]
enum Trees {
    F32(Forest<f32>),
    F64(Forest<f64>),
}

/// What the leaves say.
#[derive(Debug)]
enum Votes {
    /// One weight for one output, by branch: the common case.
    One(Vec<f32>),
    /// Any number, by branch: where they begin and end in the list.
    Many(Vec<(u32, u32)>, Vec<(u32, f32)>),
}

/// Which outputs a leaf voted for.
#[derive(Debug)]
enum Voted {
    /// Output 0 of each row, no other.
    First,
    /// Every output of each row.
    All,
    /// By cell of the scores.
    Cells(Vec<bool>),
}

impl Voted {
    fn has(&self, output: usize, row: usize, rows: usize) -> bool {
        match self {
            Self::First => output == 0,
            Self::All => true,
            Self::Cells(cells) => cells[output * rows + row],
        }
    }
}

/// An ensemble that is ready to run.
#[derive(Debug)]
pub struct Ensemble {
    slot: usize,
    trees: Trees,
    votes: Votes,
    /// Whatever way a row takes, each output gets a vote.
    all_vote: bool,
    outputs: usize,
    base: Vec<f32>,
    aggregate: Aggregate,
    transform: Transform,
    classes: Option<Classes>,
}

#[derive(Debug)]
struct Classes {
    labels: Labels,
    /// Two classes, and votes for one of them only.
    binary: bool,
    all_positive: bool,
}

fn build(site: &Site<'_>, prefix: &str, outputs: usize) -> Result<(Ensemble, Vec<(usize, f64)>), String> {
    let (slot, kind, columns) = site.table(0)?;
    let layout = Layout::of(site, prefix, columns, outputs)?;
    let base = site.attributes.reals("base_values")?.iter().map(|&x| x as f32).collect::<Vec<_>>();
    if base.len() > outputs.max(1) {
        return Err(format!("{} base values for {outputs} outputs", base.len()));
    }
    let aggregate = match site.attributes.text("aggregate_function", "SUM")? {
        "SUM" => Aggregate::Sum,
        "AVERAGE" => Aggregate::Average,
        "MIN" => Aggregate::Min,
        "MAX" => Aggregate::Max,
        other => return Err(format!("aggregate_function {other:?} is not known")),
    };
    let transform = Transform::of(site.attributes)?;
    let all: Vec<(usize, f64)> = layout.votes.iter().flatten().copied().collect();
    let votes = votes(&layout, outputs);
    let all_vote = all_vote(&layout, outputs);
    let trees = match kind.dtype {
        Dtype::F64 => Trees::F64(forest(layout, |x| x)),
        Dtype::F32 | Dtype::I64 | Dtype::Bool => Trees::F32(forest(layout, |x| x as f32)),
        Dtype::Text => return Err("its input is text".to_owned()),
    };
    let op = Ensemble { slot, trees, votes, all_vote, outputs, base, aggregate, transform, classes: None };
    Ok((op, all))
}

fn forest<T>(layout: Layout, cell: impl Fn(f64) -> T) -> Forest<T> {
    let mut branching = layout.branches.iter().enumerate().filter(|(at, b)| b.yes as usize != *at);
    let first = branching.next().map_or(Mode::Leq, |(at, _)| layout.modes[at]);
    let alike = branching.all(|(at, _)| layout.modes[at] == first);
    let of = |b: &Branch<f64>| Branch {
        threshold: cell(b.threshold),
        feature: b.feature,
        missing_yes: b.missing_yes,
        yes: b.yes,
        no: b.no,
    };
    Forest {
        branches: layout.branches.iter().map(of).collect(),
        trees: layout.trees,
        modes: if alike { Modes::One(first) } else { Modes::Each(layout.modes) },
        tracks_missing: layout.tracks_missing,
    }
}

fn votes(layout: &Layout, outputs: usize) -> Votes {
    let is_leaf = |at: usize| layout.branches[at].yes as usize == at;
    let single = |(at, votes): (usize, &Vec<(usize, f64)>)| {
        !is_leaf(at) || matches!(votes.as_slice(), [(target, _)] if *target == 0)
    };
    if outputs <= 2 && layout.votes.iter().enumerate().all(single) {
        return Votes::One(layout.votes.iter().map(|v| v.first().map_or(0.0, |(_, w)| *w as f32)).collect());
    }
    let (mut spans, mut list) = (Vec::with_capacity(layout.votes.len()), Vec::new());
    for votes in &layout.votes {
        let start = list.len() as u32;
        list.extend(votes.iter().map(|&(target, weight)| (target as u32, weight as f32)));
        spans.push((start, list.len() as u32));
    }
    Votes::Many(spans, list)
}

/// Whether for each output there is a tree all of whose leaves vote for it.
fn all_vote(layout: &Layout, outputs: usize) -> bool {
    let mut always = vec![false; outputs];
    let ends = layout.trees.iter().skip(1).map(|tree| tree.start as usize).chain([layout.branches.len()]);
    for (tree, end) in layout.trees.iter().zip(ends) {
        let range = tree.start as usize..end;
        let leaves = range.filter(|&at| layout.branches[at].yes as usize == at);
        let leaves: Vec<&Vec<(usize, f64)>> = leaves.map(|at| &layout.votes[at]).collect();
        let Some(first) = leaves.first() else { continue };
        for &(output, _) in *first {
            always[output] |= leaves.iter().all(|votes| votes.iter().any(|(o, _)| *o == output));
        }
    }
    always.iter().all(|&a| a)
}

/// TreeEnsembleRegressor
pub fn regressor(site: &Site<'_>) -> Result<Built, String> {
    let targets = usize::try_from(site.attributes.int("n_targets", 1)?).unwrap_or(0);
    if targets == 0 || targets > crate::limits::COLUMNS_MAX {
        return Err(format!("n_targets is {targets}"));
    }
    let (op, _) = build(site, "target", targets)?;
    Ok(Built::step(Op::Trees(Box::new(op)), Kind::new(Dtype::F32, &[targets])))
}

/// TreeEnsembleClassifier
pub fn classifier(site: &Site<'_>) -> Result<Built, String> {
    let labels = labels(site, "classlabels_int64s")?;
    if labels.len() < 2 {
        return Err(format!("{} classes; at least two are needed", labels.len()));
    }
    let (mut op, votes) = build(site, "class", labels.len())?;
    let one_class = votes.windows(2).all(|pair| pair[0].0 == pair[1].0);
    let binary = labels.len() == 2 && one_class;
    let all_positive = votes.iter().all(|(_, weight)| *weight >= 0.0);
    let label = if matches!(labels, Labels::Ints(_)) { Dtype::I64 } else { Dtype::Text };
    let kinds = vec![Kind::new(label, &[]), Kind::new(Dtype::F32, &[labels.len()])];
    let classes = Some(labels.clone());
    op.classes = Some(Classes { labels, binary, all_positive });
    Ok(Built::Step { op: Op::Trees(Box::new(op)), kinds, classes })
}

impl Ensemble {
    pub fn run(&self, slots: &[Data], rows: usize, out: &mut [Data; 2], wanted: [bool; 2]) {
        let place = usize::from(self.classes.is_some());
        let mut scores = out[place].take_f32();
        scores.resize(self.outputs * rows, 0.0);
        let voted = self.gather(&slots[self.slot], rows, &mut scores);
        match &self.classes {
            None => self.finish_targets(&mut scores, &voted, rows),
            Some(classes) => {
                let mut winners = [0; BLOCK_ROWS];
                self.finish_classes(classes, &mut scores, &voted, rows, &mut winners);
                if wanted[0] {
                    put_labels(&classes.labels, rows, |row| winners[row], &mut out[0]);
                }
            }
        }
        out[place] = Data::F32(scores);
    }

    /// Sums (or the extreme) of the votes.
    fn gather(&self, from: &Data, rows: usize, scores: &mut [f32]) -> Voted {
        let sum = matches!(self.aggregate, Aggregate::Sum | Aggregate::Average);
        match &self.votes {
            Votes::One(weights) if sum => {
                self.walk(from, rows, |row, at| scores[row] += weights[at]);
                Voted::First
            }
            Votes::Many(spans, list) if sum && self.all_vote => {
                self.walk(from, rows, |row, at| {
                    let (start, end) = spans[at];
                    for &(output, weight) in &list[start as usize..end as usize] {
                        scores[output as usize * rows + row] += weight;
                    }
                });
                Voted::All
            }
            votes => Voted::Cells(self.gather_any(votes, from, rows, scores)),
        }
    }

    fn gather_any(&self, votes: &Votes, from: &Data, rows: usize, scores: &mut [f32]) -> Vec<bool> {
        let mut voted = vec![false; scores.len()];
        let mut add = |cell: usize, weight: f32| {
            let before = std::mem::replace(&mut voted[cell], true);
            let score = &mut scores[cell];
            match self.aggregate {
                Aggregate::Sum | Aggregate::Average => *score += weight,
                Aggregate::Min if !before || weight < *score => *score = weight,
                Aggregate::Max if !before || weight > *score => *score = weight,
                Aggregate::Min | Aggregate::Max => {}
            }
        };
        match votes {
            Votes::One(weights) => self.walk(from, rows, |row, at| add(row, weights[at])),
            Votes::Many(spans, list) => self.walk(from, rows, |row, at| {
                let (start, end) = spans[at];
                for &(output, weight) in &list[start as usize..end as usize] {
                    add(output as usize * rows + row, weight);
                }
            }),
        }
        voted
    }

    fn walk(&self, from: &Data, rows: usize, leaf: impl FnMut(usize, usize)) {
        match (&self.trees, from) {
            (Trees::F32(forest), Data::F32(cells)) => forest.walk(cells, rows, leaf),
            (Trees::F64(forest), Data::F64(cells)) => forest.walk(cells, rows, leaf),
            (Trees::F32(forest), other) => {
                let cell = |i: usize| other.number(i).unwrap_or(f64::NAN) as f32;
                let cells: Vec<f32> = (0..other.len()).map(cell).collect();
                forest.walk(&cells, rows, leaf);
            }
            (Trees::F64(_), _) => {}
        }
    }

    fn tree_count(&self) -> f32 {
        match &self.trees {
            Trees::F32(forest) => forest.trees.len() as f32,
            Trees::F64(forest) => forest.trees.len() as f32,
        }
    }

    fn finish_targets(&self, scores: &mut [f32], voted: &Voted, rows: usize) {
        if self.aggregate == Aggregate::Average {
            let trees = self.tree_count();
            scores.iter_mut().for_each(|x| *x /= trees);
        }
        if self.base.len() == self.outputs {
            for (i, score) in scores.iter_mut().enumerate() {
                // One target has its base value always, several only where a leaf voted.
                if self.outputs == 1 || voted.has(i / rows, i % rows, rows) {
                    *score += self.base[i / rows];
                }
            }
        }
        match (self.outputs, self.transform) {
            // A single target knows no other transform.
            (1, Transform::Probit) => scores.iter_mut().for_each(|x| *x = probit(*x)),
            (1, _) => {}
            (_, transform) => transform.apply(scores, rows),
        }
    }

    /// Base values, the winning class of each row, transforms.
    fn finish_classes(
        &self,
        classes: &Classes,
        scores: &mut [f32],
        voted: &Voted,
        rows: usize,
        winners: &mut [usize],
    ) {
        if self.outputs > 2 {
            return self.finish_many(scores, voted, rows, winners);
        }
        let (first, second) = scores.split_at_mut(rows);
        for row in 0..rows {
            let has = [voted.has(0, row, rows), voted.has(1, row, rows)];
            winners[row] = self.finish_two(classes, &mut first[row], &mut second[row], has);
        }
        if self.transform == Transform::Softmax || self.transform == Transform::SoftmaxZero {
            self.soften_two(scores, voted, rows);
        }
    }

    fn finish_many(&self, scores: &mut [f32], voted: &Voted, rows: usize, winners: &mut [usize]) {
        for (column, base) in scores.chunks_exact_mut(rows.max(1)).zip(&self.base) {
            column.iter_mut().for_each(|x| *x += base);
        }
        for (row, winner) in winners.iter_mut().enumerate().take(rows) {
            let mut best: Option<(usize, f32)> = None;
            for class in 0..self.outputs {
                let score = scores[class * rows + row];
                let has = class < self.base.len() || voted.has(class, row, rows);
                if has && best.is_none_or(|(_, top)| score > top) {
                    best = Some((class, score));
                }
            }
            *winner = best.map_or(0, |(class, _)| class);
        }
        self.transform.apply(scores, rows);
    }

    /// Two classes of one row: base values, the winner, and the transforms of one cell.
    fn finish_two(&self, classes: &Classes, a: &mut f32, b: &mut f32, [has_a, has_b]: [bool; 2]) -> usize {
        match self.base.as_slice() {
            [one] if has_a => *a += one,
            [_, second] if has_b => {
                // The second class is taken for the score's complement.
                *b = second + *a;
                if has_a {
                    *a = -*b;
                }
            }
            [first, _] if has_a => *a += first,
            _ => {}
        }
        let score = if has_b { *b } else { *a };
        let limit = if classes.binary && classes.all_positive { 0.5 } else { 0.0 };
        let wins = score > limit;
        let alone = !has_b && self.base.len() < 2;
        match self.transform {
            Transform::Logistic if alone => (*a, *b) = (logistic(-score), logistic(score)),
            Transform::Logistic => (*a, *b) = (logistic(*a), logistic(*b)),
            Transform::Probit => (*a, *b) = (probit(*a), probit(*b)),
            _ if alone && classes.all_positive && classes.binary => (*a, *b) = (1.0 - score, score),
            _ if alone => (*a, *b) = (-score, score),
            _ => {}
        }
        usize::from(wins)
    }

    /// Softmax over two classes, where both have a score.
    fn soften_two(&self, scores: &mut [f32], voted: &Voted, rows: usize) {
        for row in 0..rows {
            if voted.has(1, row, rows) || self.base.len() == 2 {
                let mut pair = [scores[row], scores[rows + row]];
                self.transform.apply(&mut pair, 1);
                (scores[row], scores[rows + row]) = (pair[0], pair[1]);
            }
        }
    }
}
