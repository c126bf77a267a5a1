//! Any interleaving against a plain byte vector: whatever the source's chunks, its end, its announced size, the
//! limits, and however many read at once, `read_at(offset, len)` is `content[offset .. offset + len]`.

use crate::rig::{Choppy, FaultyDisk, chunked, content, run, spool};
use evenkeel_spool::{Disk, Fill, OsDisk, ReadError, SpoolBuffer, SpoolOptions};
use proptest::prelude::*;
use std::sync::Arc;

#[derive(Debug, Clone, Copy)]
enum Op {
    At(u64, usize),
    Into(u64, usize),
    Some(u64, usize),
    Spill,
}

#[derive(Debug, Clone)]
struct Plan {
    len: usize,
    page: usize,
    memory: u64,
    fill: Fill,
    sizes: Vec<usize>,
    stream: bool,
    fails: bool,
    hint: Option<u64>,
    /// The disk gives and takes at most so many bytes a call; 0 is no limit.
    short: usize,
    cold: bool,
}

fn plan() -> impl Strategy<Value = Plan> {
    let fill = prop_oneof![
        Just(Fill::OnDemand),
        (0u64..2_000).prop_map(|bytes| Fill::Ahead { bytes }),
        Just(Fill::All)
    ];
    let limits = (0usize..6_000, 1usize..300, 0u64..2_000, fill);
    let source = (prop::collection::vec(0usize..500, 0..8), any::<bool>(), any::<bool>());
    let rest = (prop::option::of(0u64..8_000), prop_oneof![Just(0usize), 1usize..40], any::<bool>());
    (limits, source, rest).prop_map(
        |((len, page, memory, fill), (sizes, stream, fails), (hint, short, cold))| Plan {
            len,
            page,
            memory,
            fill,
            sizes,
            stream,
            fails,
            hint,
            short,
            cold,
        },
    )
}

fn op() -> impl Strategy<Value = Op> {
    let range = || (0u64..7_000, 0usize..1_500);
    prop_oneof![
        4 => range().prop_map(|(offset, len)| Op::At(offset, len)),
        2 => range().prop_map(|(offset, len)| Op::Into(offset, len)),
        2 => range().prop_map(|(offset, len)| Op::Some(offset, len)),
        1 => Just(Op::Spill),
    ]
}

/// What `content[offset .. offset + len]` is, or that it cannot be known.
fn want<'a>(content: &'a [u8], plan: &Plan, offset: u64, len: usize) -> Option<&'a [u8]> {
    let from = usize::try_from(offset).unwrap().min(content.len());
    let to = from.saturating_add(len).min(content.len());
    let whole = len == 0 || usize::try_from(offset).unwrap() + len <= content.len();
    (whole || !plan.fails).then(|| &content[from..to])
}

fn judge(got: Result<&[u8], &ReadError>, want: Option<&[u8]>, content: &[u8], op: Op) {
    match (got, want) {
        (Ok(got), Some(want)) => assert_eq!(got, want, "{op:?}"),
        (Err(ReadError::Source { at, .. }), None) => assert_eq!(*at, content.len() as u64, "{op:?}"),
        other => panic!("{op:?}: {other:?}"),
    }
}

fn blocking(buffer: &SpoolBuffer, content: &[u8], plan: &Plan, op: Op) {
    match op {
        Op::At(offset, len) => {
            let got = buffer.read_at_blocking(offset, len);
            judge(got.as_deref(), want(content, plan, offset, len), content, op);
        }
        Op::Into(offset, len) => {
            let mut buf = vec![0; len];
            let got = buffer.read_into_blocking(offset, &mut buf);
            judge(got.as_ref().map(|n| &buf[..*n]), want(content, plan, offset, len), content, op);
        }
        Op::Some(offset, len) => {
            let mut buf = vec![0; len];
            let got = buffer.read_some_blocking(offset, &mut buf);
            some(got.as_ref().map(|n| &buf[..*n]), content, plan, op, (offset, len));
        }
        Op::Spill => {
            buffer.spill_blocking().unwrap();
        }
    }
}

async fn asynchronous(buffer: &SpoolBuffer, content: &[u8], plan: &Plan, op: Op) {
    match op {
        Op::At(offset, len) => {
            let got = buffer.read_at(offset, len).await;
            judge(got.as_deref(), want(content, plan, offset, len), content, op);
        }
        Op::Into(offset, len) => {
            let mut buf = vec![0; len];
            let got = buffer.read_into(offset, &mut buf).await;
            judge(got.as_ref().map(|n| &buf[..*n]), want(content, plan, offset, len), content, op);
        }
        Op::Some(offset, len) => {
            let got = buffer.read_some(offset, len).await;
            some(got.as_deref(), content, plan, op, (offset, len));
        }
        Op::Spill => {
            buffer.spill().await.unwrap();
        }
    }
}

/// At least one byte where there is one, and all of them right.
fn some(got: Result<&[u8], &ReadError>, content: &[u8], plan: &Plan, op: Op, (offset, len): (u64, usize)) {
    let first = want(content, plan, offset, len.min(1));
    match got {
        Ok(got) => {
            assert_eq!(got.is_empty(), first.is_some_and(<[u8]>::is_empty), "{op:?}");
            assert!(got.len() <= len);
            judge(Ok(got), want(content, plan, offset, got.len()), content, op);
        }
        Err(error) => judge(Err(error), first, content, op),
    }
}

fn open(plan: &Plan, content: &[u8]) -> SpoolBuffer {
    let source = match plan.stream {
        true => chunked(content, &plan.sizes, plan.fails).0,
        false => Choppy::source(content, &plan.sizes, plan.fails),
    };
    let disk: Arc<dyn Disk> = match plan.short > 0 || plan.cold {
        true => Arc::new(FaultyDisk { short: plan.short, cold: plan.cold, ..FaultyDisk::default() }),
        false => Arc::new(OsDisk),
    };
    spool(
        source,
        SpoolOptions {
            size_hint: plan.hint,
            page_bytes: plan.page,
            memory_bytes_max: plan.memory,
            fill: plan.fill,
            disk_reserve_bytes: 0,
            disk,
            ..SpoolOptions::default()
        },
    )
}

proptest! {
    #[test]
    fn every_read_is_the_contents(
        plan in plan(),
        threads in prop::collection::vec(prop::collection::vec(op(), 1..12), 1..4),
        tasks in prop::collection::vec(prop::collection::vec(op(), 1..12), 0..3),
    ) {
        let content = content(plan.len);
        let buffer = open(&plan, &content);
        std::thread::scope(|scope| {
            for ops in &threads {
                scope.spawn(|| ops.iter().for_each(|op| blocking(&buffer, &content, &plan, *op)));
            }
            run(futures::future::join_all(tasks.iter().map(async |ops| {
                for op in ops {
                    asynchronous(&buffer, &content, &plan, *op).await;
                }
            })));
        });
        let status = buffer.status();
        let memory_max = plan.memory.max(3 * plan.page as u64);
        prop_assert!(status.memory_bytes <= memory_max, "{} > {memory_max}", status.memory_bytes);
        // The end, and everything once more.
        let end = buffer.wait_end_blocking();
        prop_assert_eq!(end.is_err(), plan.fails);
        prop_assert_eq!(buffer.len(), (!plan.fails).then_some(content.len() as u64));
        prop_assert_eq!(buffer.read_at_blocking(0, content.len()).unwrap(), &content[..]);
        let lie = plan.hint.is_some_and(|hint| match plan.fails {
            true => hint < content.len() as u64,
            false => hint != content.len() as u64,
        });
        prop_assert_eq!(buffer.size_mismatch().is_some(), lie);
        prop_assert!(buffer.status().memory_bytes <= memory_max);
    }
}
