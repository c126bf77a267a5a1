//! One answer of `/metrics`, in Prometheus' text form.

use std::collections::BTreeMap;

/// Samples of one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scrape {
    samples: BTreeMap<String, Vec<Sample>>,
}

#[derive(Debug, Clone, PartialEq)]
struct Sample {
    labels: Vec<(String, String)>,
    value: f64,
}

impl Scrape {
    /// Reads a text. Lines that are no samples are passed over.
    pub fn parse(text: &str) -> Self {
        let mut scrape = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            if let Some((name, sample)) = sample(line) {
                scrape.samples.entry(name).or_default().push(sample);
            }
        }
        scrape
    }

    /// Whether there is any sample of this name.
    pub fn has(&self, name: &str) -> bool {
        self.samples.contains_key(name)
    }

    /// The sum of a metric's series; `None` = there is none.
    pub fn sum(&self, name: &str) -> Option<f64> {
        Some(self.samples.get(name)?.iter().map(|sample| sample.value).sum())
    }

    /// The largest of a metric's series.
    pub fn largest(&self, name: &str) -> Option<f64> {
        self.samples.get(name)?.iter().map(|sample| sample.value).reduce(f64::max)
    }

    /// Sums by the value of a label. Series that differ in `each` say the same thing again (every window size sees
    /// every event), so of them the largest sum counts.
    pub fn by(&self, name: &str, label: &str, each: Option<&str>) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::<(String, String), f64>::new();
        for sample in self.samples.get(name).into_iter().flatten() {
            let key = (sample.label(label), each.map_or(String::new(), |each| sample.label(each)));
            *sums.entry(key).or_default() += sample.value;
        }
        let mut largest = BTreeMap::<String, f64>::new();
        for ((value, _), sum) in sums {
            let most = largest.entry(value).or_default();
            *most = most.max(sum);
        }
        largest
    }

    /// The buckets of a histogram, all series together: (upper bound, observations up to it), rising.
    pub fn buckets(&self, name: &str) -> Vec<(f64, f64)> {
        let mut buckets: Vec<(f64, f64)> = Vec::new();
        for sample in self.samples.get(&format!("{name}_bucket")).into_iter().flatten() {
            let Ok(bound) = sample.label("le").parse::<f64>() else { continue };
            match buckets.iter_mut().find(|(known, _)| known.total_cmp(&bound).is_eq()) {
                Some((_, count)) => *count += sample.value,
                None => buckets.push((bound, sample.value)),
            }
        }
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        buckets
    }

    /// The value of a label in the first series that has it.
    pub fn label(&self, name: &str, label: &str) -> Option<String> {
        let labels = self.samples.get(name)?.iter().flat_map(|sample| &sample.labels);
        labels.into_iter().find(|(key, _)| key == label).map(|(_, value)| value.clone())
    }
}

impl Sample {
    fn label(&self, name: &str) -> String {
        self.labels.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()).unwrap_or_default()
    }
}

/// `name{label="value",…} 1.5`, with or without labels, a time stamp behind it not read.
fn sample(line: &str) -> Option<(String, Sample)> {
    let end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Vec::new(), rest),
    };
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some((name.to_owned(), Sample { labels, value }))
}

/// The labels, and what stands behind the brace. Values are quoted; `\"`, `\\` and `\n` are escapes.
fn labels(mut rest: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start_matches(',');
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (key, quoted) = rest.split_once("=\"")?;
        let (mut value, mut escaped, mut end) = (String::new(), false, None);
        for (at, c) in quoted.char_indices() {
            match (escaped, c) {
                (true, 'n') => value.push('\n'),
                (false, '\\') => {
                    escaped = true;
                    continue;
                }
                (false, '"') => {
                    end = Some(at);
                    break;
                }
                _ => value.push(c),
            }
            escaped = false;
        }
        labels.push((key.to_owned(), value));
        rest = &quoted[end? + 1..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_read_and_the_rest_is_passed_over() {
        let scrape = Scrape::parse(
            "# HELP a b\na{x=\"1\",y=\"q\\\"},\\\\\\n\"} 2\na{x=\"2\"} 3.5 1700000000\nb 7\nc{x=\"1\n}\nd\n\ne x\nf{} +Inf\n",
        );
        assert_eq!((scrape.sum("a"), scrape.sum("b"), scrape.sum("c")), (Some(5.5), Some(7.0), None));
        assert_eq!(scrape.largest("a"), Some(3.5));
        assert_eq!(scrape.label("a", "y").as_deref(), Some("q\"},\\\n"));
        assert!(!scrape.has("d") && !scrape.has("e") && scrape.sum("f") == Some(f64::INFINITY));
    }

    #[test]
    fn sizes_say_the_same_again_and_buckets_of_all_series_add_up() {
        let scrape = Scrape::parse(
            "e{o=\"ok\",s=\"5\",w=\"1\"} 4\ne{o=\"ok\",s=\"5\",w=\"2\"} 3\ne{o=\"ok\",s=\"60\"} 6\ne{o=\"bad\",s=\"5\"} 1\n\
             h_bucket{le=\"+Inf\"} 3\nh_bucket{le=\"0.1\"} 1\nh_bucket{le=\"0.1\",p=\"x\"} 2\nh_bucket{le=\"+Inf\",p=\"x\"} 2\n",
        );
        let by = scrape.by("e", "o", Some("s"));
        assert_eq!((by["ok"], by["bad"]), (7.0, 1.0));
        assert_eq!(scrape.by("e", "o", None)["ok"], 13.0);
        assert_eq!(scrape.buckets("h"), [(0.1, 3.0), (f64::INFINITY, 5.0)]);
    }
}
