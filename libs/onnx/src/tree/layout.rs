//! From the parallel lists of a tree ensemble's attributes to one array of branches.
//!
//! Owns: which node is whose child, the proof that every walk ends. Never: a row.

use crate::graph::Site;
use crate::limits::TREE_DEPTH_MAX;
use crate::tree::forest::{Branch, Mode, Tree};
use std::collections::BTreeMap;

/// The nodes of all trees, in the order of the file.
#[derive(Debug)]
pub struct Layout {
    pub branches: Vec<Branch<f64>>,
    /// The mode of each branch; leaves have one too, which nobody asks for.
    pub modes: Vec<Mode>,
    pub trees: Vec<Tree>,
    /// Votes of each branch that is a leaf: class or target, and weight.
    pub votes: Vec<Vec<(usize, f64)>>,
    /// Any branch sends missing values to its true side.
    pub tracks_missing: bool,
}

/// The attributes, all of one length.
struct Lists<'a> {
    trees: &'a [i64],
    ids: &'a [i64],
    features: &'a [i64],
    modes: &'a [&'a [u8]],
    values: Vec<f64>,
    yes: &'a [i64],
    no: &'a [i64],
    missing: &'a [i64],
}

impl Layout {
    /// `prefix`: `class` or `target`, whose votes the leaves have.
    pub fn of(site: &Site<'_>, prefix: &str, columns: usize, outputs: usize) -> Result<Self, String> {
        let attributes = site.attributes;
        let lists = Lists {
            trees: attributes.ints("nodes_treeids")?,
            ids: attributes.ints("nodes_nodeids")?,
            features: attributes.ints("nodes_featureids")?,
            modes: attributes.blobs("nodes_modes")?,
            values: attributes.reals("nodes_values")?,
            yes: attributes.ints("nodes_truenodeids")?,
            no: attributes.ints("nodes_falsenodeids")?,
            missing: attributes.ints("nodes_missing_value_tracks_true")?,
        };
        let n = lists.ids.len();
        let lengths = [
            lists.trees.len(),
            lists.features.len(),
            lists.modes.len(),
            lists.values.len(),
            lists.yes.len(),
            lists.no.len(),
        ];
        let short =
            lengths.iter().any(|&l| l != n) || (!lists.missing.is_empty() && lists.missing.len() != n);
        if n == 0 || short || u32::try_from(n).is_err() {
            return Err(format!("its lists nodes_… have different lengths, or none: {n} and {lengths:?}"));
        }
        let mut index = BTreeMap::new();
        for i in 0..n {
            if index.insert((lists.trees[i], lists.ids[i]), i).is_some() {
                return Err(format!("node {} of tree {} is there twice", lists.ids[i], lists.trees[i]));
            }
        }
        let votes = votes(site, prefix, &index, n, outputs)?;
        lists.lay_out(&index, votes, columns)
    }
}

fn votes(
    site: &Site<'_>,
    prefix: &str,
    index: &BTreeMap<(i64, i64), usize>,
    nodes: usize,
    outputs: usize,
) -> Result<Vec<Vec<(usize, f64)>>, String> {
    let of = |what: &str| site.attributes.ints(&format!("{prefix}_{what}"));
    let (trees, ids, targets) = (of("treeids")?, of("nodeids")?, of("ids")?);
    let weights = site.attributes.reals(&format!("{prefix}_weights"))?;
    if [ids.len(), targets.len(), weights.len()].iter().any(|&l| l != trees.len()) {
        return Err(format!("its lists {prefix}_… have different lengths"));
    }
    let mut votes = vec![Vec::new(); nodes];
    for (i, &weight) in weights.iter().enumerate() {
        let node = index.get(&(trees[i], ids[i])).ok_or("a vote of a node that is not there")?;
        let target = usize::try_from(targets[i]).ok().filter(|&t| t < outputs);
        let target = target.ok_or_else(|| format!("a vote for {} of {outputs}", targets[i]))?;
        votes[*node].push((target, weight));
    }
    Ok(votes)
}

impl Lists<'_> {
    fn lay_out(
        &self,
        index: &BTreeMap<(i64, i64), usize>,
        votes: Vec<Vec<(usize, f64)>>,
        columns: usize,
    ) -> Result<Layout, String> {
        let n = self.ids.len();
        let (mut branches, mut modes) = (Vec::with_capacity(n), Vec::with_capacity(n));
        for node in 0..n {
            let leaf = self.modes[node] == b"LEAF";
            modes.push(if leaf { Mode::Leq } else { mode_of(self.modes[node])? });
            branches.push(Branch {
                threshold: self.values[node],
                feature: if leaf { 0 } else { self.feature(node, columns)? },
                missing_yes: !leaf && self.missing.get(node).is_some_and(|&m| m != 0),
                yes: if leaf { node as u32 } else { self.child(node, self.yes[node], index)? },
                no: if leaf { node as u32 } else { self.child(node, self.no[node], index)? },
            });
        }
        let tracks_missing = branches.iter().any(|b| b.missing_yes);
        let mut trees = Vec::new();
        let mut start = 0;
        while start < n {
            let tree = self.trees[start];
            let end = (start..n).find(|&j| self.trees[j] != tree).unwrap_or(n);
            trees.push(walkable(&branches, start..end).map_err(|what| format!("tree {tree} {what}"))?);
            start = end;
        }
        Ok(Layout { branches, modes, trees, votes, tracks_missing })
    }

    fn child(&self, node: usize, child: i64, index: &BTreeMap<(i64, i64), usize>) -> Result<u32, String> {
        let (tree, id) = (self.trees[node], self.ids[node]);
        let at = index.get(&(tree, child)).filter(|&&at| at != node);
        let at = at.ok_or_else(|| format!("child {child} of node {id} of tree {tree} is not there"))?;
        Ok(*at as u32)
    }

    fn feature(&self, node: usize, columns: usize) -> Result<u32, String> {
        let feature = self.features[node];
        let fits = usize::try_from(feature).is_ok_and(|f| f < columns);
        if fits {
            Ok(feature as u32)
        } else {
            Err(format!("it asks for column {feature} of {columns} columns"))
        }
    }
}

/// The root and the longest way of the tree whose nodes are `range`. A node may have several parents (exporters
/// write a choice of categories so), but no walk may come back to where it was.
fn walkable(branches: &[Branch<f64>], range: std::ops::Range<usize>) -> Result<Tree, String> {
    let first = range.start;
    let of = |at: u32| (at as usize).checked_sub(first).filter(|&at| at < range.len());
    let children = |at: usize| {
        let branch = &branches[first + at];
        let leaf = branch.yes as usize == first + at;
        [branch.yes, branch.no].into_iter().filter(move |_| !leaf)
    };
    let mut parents = vec![0_u32; range.len()];
    for at in 0..range.len() {
        for child in children(at) {
            parents[of(child).ok_or("is not listed in one piece")?] += 1;
        }
    }
    let mut open: Vec<usize> = (0..range.len()).filter(|&at| parents[at] == 0).collect();
    let &root = open.first().ok_or("has no root: each node is a child of another")?;
    let (mut depth, mut settled) = (vec![0_u32; range.len()], 0);
    while let Some(at) = open.pop() {
        settled += 1;
        for child in children(at).filter_map(of) {
            depth[child] = depth[child].max(depth[at] + 1);
            parents[child] -= 1;
            if parents[child] == 0 {
                open.push(child);
            }
        }
    }
    let longest = depth.iter().copied().max().unwrap_or(0);
    match settled == range.len() {
        false => Err("leads back to a node it came from".to_owned()),
        true if longest > TREE_DEPTH_MAX => Err(format!("is deeper than {TREE_DEPTH_MAX}")),
        true => Ok(Tree { start: first as u32, root: (first + root) as u32, depth: longest }),
    }
}

fn mode_of(name: &[u8]) -> Result<Mode, String> {
    Ok(match name {
        b"BRANCH_LEQ" => Mode::Leq,
        b"BRANCH_LT" => Mode::Lt,
        b"BRANCH_GTE" => Mode::Gte,
        b"BRANCH_GT" => Mode::Gt,
        b"BRANCH_EQ" => Mode::Eq,
        b"BRANCH_NEQ" => Mode::Neq,
        other => return Err(format!("node mode {:?} is not known", String::from_utf8_lossy(other))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Branches by their children; a leaf leads to itself.
    fn tree(children: &[(u32, u32)]) -> Result<Tree, String> {
        let of = |&(yes, no): &(u32, u32)| Branch { threshold: 0.0, feature: 0, missing_yes: false, yes, no };
        let branches: Vec<Branch<f64>> = children.iter().map(of).collect();
        walkable(&branches, 0..branches.len())
    }

    #[test]
    fn a_node_may_have_two_parents_but_no_walk_comes_back() {
        let shared = tree(&[(1, 2), (3, 2), (2, 2), (3, 3)]).unwrap();
        assert_eq!((shared.root, shared.depth), (0, 2));
        let back = tree(&[(1, 2), (3, 2), (2, 2), (1, 2)]).unwrap_err();
        assert_eq!(back, "leads back to a node it came from");
        assert_eq!(tree(&[(1, 1), (0, 0)]).unwrap_err(), "has no root: each node is a child of another");
        assert_eq!(tree(&[(1, 7), (1, 1)]).unwrap_err(), "is not listed in one piece");
    }
}
