//! The reference of metrics: generated from their declarations, with the names that Prometheus sees.

use evenkeel_tidy::{check_generated, report, tree};
use std::fmt::Write as _;

/// One declaration of `metrics!`: `counter EVENTS "name" "unit" ["label"]`, then `"sentence";`.
struct Metric<'a> {
    kind: &'a str,
    name: &'a str,
    unit: &'a str,
    labels: Vec<&'a str>,
    sentence: &'a str,
}

impl<'a> Metric<'a> {
    fn read(line: &'a str, next: &'a str) -> Option<Self> {
        let kind = line.split_whitespace().next()?;
        if !matches!(kind, "counter" | "gauge" | "histogram") {
            return None;
        }
        let (head, labels) = line.split_once('[')?;
        let mut quoted = head.split('"').skip(1).step_by(2);
        let labels = labels.split(']').next()?.split('"').skip(1).step_by(2).collect();
        let sentence = next.trim().trim_start_matches('"').trim_end_matches("\";");
        Some(Self { kind, name: quoted.next()?, unit: quoted.next()?, labels, sentence })
    }

    /// As the exporter writes it: dots become underscores, the unit and `total` stand behind.
    fn of_prometheus(&self) -> String {
        let unit = match self.unit {
            "s" => "_seconds",
            "By" => "_bytes",
            // A unit in braces is a remark; of any other the exporter makes a word of its own.
            other if !other.starts_with('{') => panic!("{}: the unit {other} is not known here", self.name),
            _ => "",
        };
        let total = if self.kind == "counter" { "_total" } else { "" };
        format!("{}{unit}{total}", self.name.replace('.', "_"))
    }
}

#[test]
fn the_table_of_metrics_is_the_declarations() {
    let files = tree();
    let names =
        files.iter().filter(|f| f.path.starts_with("libs/telemetry/src/names/") && f.name() != "mod.rs");
    let (mut text, mut count) = (String::new(), 0);
    for file in names {
        let _ = write!(
            text,
            "\n### {}\n\nFrom [{1}](../{1}).\n\n",
            file.name().trim_end_matches(".rs"),
            file.path
        );
        text.push_str("| metric | Prometheus | kind | labels | meaning |\n| --- | --- | --- | --- | --- |\n");
        let lines: Vec<&str> = file.text.lines().collect();
        for metric in lines.windows(2).filter_map(|pair| Metric::read(pair[0].trim(), pair[1])) {
            let Metric { kind, name, unit, labels, sentence } = &metric;
            let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
            let of_prometheus = metric.of_prometheus();
            let row = format!(
                "| `{name}` | `{of_prometheus}` | {kind}, {unit} | {} | {sentence} |",
                labels.join(", ")
            );
            let _ = writeln!(text, "{}", row.replace("{", "").replace("}", ""));
            count += 1;
        }
    }
    assert!(count > 40, "{count}");
    text.push('\n');
    check_generated("docs/metrics.md", "metrics", &text);
}

/// A dashboard or an alert over a metric that nobody moves shows nothing, for ever.
#[test]
fn every_declared_metric_is_moved_by_somebody() {
    let files = tree();
    let (declared, code): (Vec<_>, Vec<_>) = files
        .iter()
        .filter(|f| f.path.ends_with(".rs") && f.path.contains("/src/"))
        .partition(|f| f.path.starts_with("libs/telemetry/src/names/"));
    let (mut findings, mut count) = (Vec::new(), 0);
    for file in declared.iter().filter(|f| f.name() != "mod.rs") {
        let service = file.name().trim_end_matches(".rs");
        let lines: Vec<&str> = file.text.lines().collect();
        let users: Vec<_> = code.iter().filter(|f| f.text.contains(&format!("names::{service}"))).collect();
        for pair in lines.windows(2).filter(|pair| Metric::read(pair[0].trim(), pair[1]).is_some()) {
            count += 1;
            let constant = pair[0].split_whitespace().nth(1).unwrap_or_default();
            let word =
                |text: &str| text.split(|c: char| !c.is_ascii_uppercase() && c != '_').any(|w| w == constant);
            if !users.iter().any(|user| word(&user.text)) {
                findings.push(format!("{}: {constant}", file.path));
            }
        }
    }
    assert!(count > 40, "{count}");
    report("metrics that are declared, and moved by nobody", &findings);
}
