//! The comparison as a picture: a panel per trace, a bar per policy, on one logarithmic axis of milliseconds.
//!
//! Owns: the SVG's text. Never: a font or a colour that needs a file, a script, the clock: equal figures give equal
//! bytes. The colours follow the reader's light or dark setting.

use super::{Cell, Grid};
use std::fmt::Write as _;

const COLUMNS: usize = 3;
const PANEL: (f64, f64) = (368.0, 184.0);
const GAP: f64 = 16.0;
const MARGIN: f64 = 24.0;
/// Where the bars of a panel begin, and how far they may reach, px.
const BARS: (f64, f64) = (104.0, 246.0);
const BARS_TOP: f64 = 28.0;
const ROW: f64 = 19.0;
const BAR: f64 = 13.0;
const HEAD: f64 = 84.0;
const SECTION: f64 = 30.0;
/// The axis: 0.3 ms to 10 s.
const AXIS_MS: (f64, f64) = (0.3, 10_000.0);
const TICKS: [(f64, &str); 5] =
    [(1.0, "1 ms"), (10.0, "10 ms"), (100.0, "100 ms"), (1_000.0, "1 s"), (10_000.0, "10 s")];

const STYLE: &str = "
  .paper{fill:#ffffff} .ink{fill:#1f2328} .dim{fill:#59636e} .grid{stroke:#d1d9e0;stroke-width:1}
  .p999{fill:#b6d4f5} .p99{fill:#4b93dd} .p50{fill:#0b3d74}
  .own .p999{fill:#f6cf9b} .own .p99{fill:#e08a1e} .own .p50{fill:#7a3e00}
  text{font-family:system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif;font-size:12px}
  .h1{font-size:18px;font-weight:600} .h2{font-size:15px;font-weight:600} .h3{font-weight:600} .small{font-size:10.5px}
  @media (prefers-color-scheme:dark){
  .paper{fill:#0d1117} .ink{fill:#e6edf3} .dim{fill:#9198a1} .grid{stroke:#30363d}
  .p999{fill:#1c3f66} .p99{fill:#3f86d0} .p50{fill:#b9dbff}
  .own .p999{fill:#5a3506} .own .p99{fill:#d07d12} .own .p50{fill:#ffdca8}}
";

/// The whole picture.
pub fn draw(grid: &Grid) -> String {
    let (brokers, traces) = (grid.each(|c| c.broker), grid.each(|c| c.trace));
    let rows = traces.len().div_ceil(COLUMNS) as f64;
    let section = SECTION + rows * (PANEL.1 + GAP);
    let width = 2.0 * MARGIN + COLUMNS as f64 * PANEL.0 + (COLUMNS - 1) as f64 * GAP;
    let height = HEAD + brokers.len() as f64 * section + MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" role=\"img\">\n<title>Latency of the flush policies</title>\n<style>{STYLE}</style>\n\
         <rect class=\"paper\" width=\"{width}\" height=\"{height}\"/>\n"
    );
    text(
        &mut svg,
        (MARGIN, 36.0),
        "ink h1",
        match brokers.contains(&super::live::LIVE) {
            true => "Latency from the moment an event was due to its acknowledgement, by flush policy",
            false => "Simulated latency from arrival to acknowledgement, by flush policy",
        },
    );
    legend(&mut svg, 62.0);
    for (n, broker) in brokers.iter().enumerate() {
        let top = HEAD + n as f64 * section;
        text(&mut svg, (MARGIN, top + 18.0), "ink h2", &format!("broker {broker}"));
        for (at, trace) in traces.iter().enumerate() {
            let left = MARGIN + (at % COLUMNS) as f64 * (PANEL.0 + GAP);
            let top = top + SECTION + (at / COLUMNS) as f64 * (PANEL.1 + GAP);
            let _ = writeln!(svg, "<g transform=\"translate({left} {top})\">");
            let cells = grid.cells.iter().filter(|c| c.broker == *broker && c.trace == *trace);
            panel(&mut svg, trace, cells);
            svg.push_str("</g>\n");
        }
    }
    svg.push_str("</svg>\n");
    svg
}

fn legend(svg: &mut String, y: f64) {
    let mut x = MARGIN;
    for (class, label) in [("p50", "p50"), ("p99", "to p99"), ("p999", "to p99.9")] {
        for (group, left) in [("", x), ("own", x + 16.0)] {
            let top = y - 11.0;
            let _ = writeln!(
                svg,
                "<g class=\"{group}\"><rect class=\"{class}\" x=\"{left}\" y=\"{top}\" width=\"14\" height=\"{BAR}\"/></g>"
            );
        }
        text(svg, (x + 36.0, y), "ink", label);
        x += 110.0;
    }
    let note = "orange: the default. Oracle: the best fixed setting of each segment, chosen afterwards. Bars end at 10 s.";
    text(svg, (x, y), "dim", note);
}

/// One trace. The bars lie on each other: p99.9 behind, p50 in front.
fn panel<'c>(svg: &mut String, trace: &str, cells: impl Iterator<Item = &'c Cell>) {
    text(svg, (0.0, 16.0), "ink h3", trace);
    let cells: Vec<&Cell> = cells.collect();
    let bottom = BARS_TOP + cells.len() as f64 * ROW;
    for (ms, label) in TICKS {
        let x = x_of(ms);
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{BARS_TOP}\" y2=\"{bottom:.1}\"/>"
        );
        anchored(svg, (x, bottom + 13.0), "dim small", "middle", label);
    }
    for (n, cell) in cells.iter().enumerate() {
        let top = BARS_TOP + n as f64 * ROW + (ROW - BAR) / 2.0;
        let m = cell.median();
        let own = if cell.policy == "self-clocked" { "own" } else { "" };
        let weight = if own.is_empty() { "ink" } else { "ink h3" };
        anchored(svg, (BARS.0 - 6.0, top + 10.5), weight, "end", cell.policy);
        let _ = writeln!(svg, "<g class=\"{own}\">");
        for (class, ms) in [("p999", m.p999), ("p99", m.p99), ("p50", m.p50)] {
            let width = (x_of(ms) - BARS.0).max(1.0);
            let _ = writeln!(
                svg,
                "<rect class=\"{class}\" x=\"{}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{BAR}\"/>",
                BARS.0
            );
        }
        svg.push_str("</g>\n");
    }
}

/// Where so many ms lie on the axis.
fn x_of(ms: f64) -> f64 {
    let part = (ms.clamp(AXIS_MS.0, AXIS_MS.1) / AXIS_MS.0).ln() / (AXIS_MS.1 / AXIS_MS.0).ln();
    BARS.0 + part * BARS.1
}

fn text(svg: &mut String, at: (f64, f64), class: &str, words: &str) {
    anchored(svg, at, class, "start", words);
}

fn anchored(svg: &mut String, (x, y): (f64, f64), class: &str, anchor: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        svg,
        "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decade_is_as_long_wherever_it_lies_and_the_ends_hold() {
        let decade = |from: f64| x_of(from * 10.0) - x_of(from);
        assert!((decade(1.0) - decade(100.0)).abs() < 1e-9);
        assert_eq!((x_of(0.0), x_of(1e9)), (BARS.0, BARS.0 + BARS.1));
    }
}
