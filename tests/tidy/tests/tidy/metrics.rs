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

/// A name that nothing moves is a promise that dashboards and alerts believe.
#[test]
fn every_declared_metric_is_moved_somewhere() {
    let files = tree();
    let is_names = |path: &str| path.starts_with("libs/telemetry/src/names/");
    let (mut unmoved, mut count) = (Vec::new(), 0);
    for names in files.iter().filter(|f| is_names(&f.path) && f.name() != "mod.rs") {
        let module = format!("names::{}", names.name().trim_end_matches(".rs"));
        let users: Vec<&str> = files
            .iter()
            .filter(|f| f.path.contains("/src/") && !is_names(&f.path) && f.text.contains(&module))
            .map(|f| f.text.as_str())
            .collect();
        for line in names.text.lines().map(str::trim) {
            let mut words = line.split_whitespace();
            let (Some("counter" | "gauge" | "histogram"), Some(constant)) = (words.next(), words.next())
            else {
                continue;
            };
            count += 1;
            let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let named = |text: &&str| text.split(|c| !is_word(c)).any(|word| word == constant);
            if !users.iter().any(named) {
                unmoved.push(format!("{}: {constant}", names.path));
            }
        }
    }
    assert!(count > 40, "{count}");
    report("metrics that no component moves", &unmoved);
}
