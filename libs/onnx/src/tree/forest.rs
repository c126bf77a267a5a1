//! Walking blocks of rows through trees.
//!
//! All nodes lie in one array, 16 bytes each (for float); a leaf leads to itself. Eight rows walk one tree in
//! step, so that the processor waits for eight loads at once instead of for one after the other.

/// How a branch compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Leq,
    Lt,
    Gte,
    Gt,
    Eq,
    Neq,
}

/// A node. A leaf's `yes` and `no` are itself.
#[derive(Debug, Clone, Copy)]
pub struct Branch<T> {
    pub threshold: T,
    pub feature: u32,
    /// A missing value (NaN) goes to `yes` whatever the comparison says.
    pub missing_yes: bool,
    pub yes: u32,
    pub no: u32,
}

/// A tree: where its nodes begin (they end where the next tree's begin), its root, its longest way.
#[derive(Debug, Clone, Copy)]
pub struct Tree {
    pub start: u32,
    pub root: u32,
    pub depth: u32,
}

/// Rows that walk in step.
const STEP: usize = 8;

/// How the branches of a forest compare.
#[derive(Debug)]
pub enum Modes {
    /// All alike, as every exporter but one writes them.
    One(Mode),
    Each(Vec<Mode>),
}

/// Trees over cells of one type.
#[derive(Debug)]
pub struct Forest<T> {
    pub branches: Vec<Branch<T>>,
    pub trees: Vec<Tree>,
    pub modes: Modes,
    pub tracks_missing: bool,
}

impl<T: Copy + PartialOrd> Forest<T> {
    /// Calls `leaf(row, branch)` for every tree and row; `cells` lie column by column.
    pub fn walk(&self, cells: &[T], rows: usize, leaf: impl FnMut(usize, usize)) {
        match (&self.modes, self.tracks_missing) {
            (Modes::One(Mode::Leq), false) => self.all(cells, rows, |b, x| x <= b.threshold, leaf),
            (Modes::One(Mode::Lt), false) => self.all(cells, rows, |b, x| x < b.threshold, leaf),
            (Modes::One(Mode::Leq), true) => {
                self.all(cells, rows, |b, x| x <= b.threshold || missing(b, x), leaf);
            }
            (Modes::One(Mode::Lt), true) => {
                self.all(cells, rows, |b, x| x < b.threshold || missing(b, x), leaf);
            }
            (Modes::One(mode), _) => {
                self.all(cells, rows, |b, x| goes_yes(*mode, b, x), leaf);
            }
            (Modes::Each(modes), _) => self.mixed(cells, rows, modes, leaf),
        }
    }

    fn all(
        &self,
        cells: &[T],
        rows: usize,
        yes: impl Fn(&Branch<T>, T) -> bool,
        mut leaf: impl FnMut(usize, usize),
    ) {
        let branches = self.branches.as_slice();
        let next = |at: u32, row: usize| {
            let branch = &branches[at as usize];
            if yes(branch, cells[branch.feature as usize * rows + row]) { branch.yes } else { branch.no }
        };
        let whole = rows - rows % STEP;
        for tree in &self.trees {
            for first in (0..whole).step_by(STEP) {
                let mut at = [tree.root; STEP];
                for _ in 0..tree.depth {
                    let before = at;
                    for (k, at) in at.iter_mut().enumerate() {
                        *at = next(*at, first + k);
                    }
                    if at == before {
                        break; // all eight are at their leaves
                    }
                }
                at.iter().enumerate().for_each(|(k, &at)| leaf(first + k, at as usize));
            }
            for row in whole..rows {
                let mut at = tree.root;
                loop {
                    let to = next(at, row);
                    if to == at {
                        break;
                    }
                    at = to;
                }
                leaf(row, at as usize);
            }
        }
    }

    fn mixed(&self, cells: &[T], rows: usize, modes: &[Mode], mut leaf: impl FnMut(usize, usize)) {
        for tree in &self.trees {
            for row in 0..rows {
                let mut at = tree.root;
                loop {
                    let branch = &self.branches[at as usize];
                    let x = cells[branch.feature as usize * rows + row];
                    let to = if goes_yes(modes[at as usize], branch, x) { branch.yes } else { branch.no };
                    if to == at {
                        break;
                    }
                    at = to;
                }
                leaf(row, at as usize);
            }
        }
    }
}

#[inline(always)]
fn missing<T: Copy + PartialOrd>(branch: &Branch<T>, x: T) -> bool {
    // Only NaN does not compare with itself.
    branch.missing_yes && x.partial_cmp(&x).is_none()
}

fn goes_yes<T: Copy + PartialOrd>(mode: Mode, branch: &Branch<T>, x: T) -> bool {
    let threshold = branch.threshold;
    let holds = match mode {
        Mode::Leq => x <= threshold,
        Mode::Lt => x < threshold,
        Mode::Gte => x >= threshold,
        Mode::Gt => x > threshold,
        Mode::Eq => x == threshold,
        Mode::Neq => x != threshold,
    };
    holds || missing(branch, x)
}
