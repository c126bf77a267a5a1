//! The view as lines, for a pipe or a log; the screen shows the same words.

use super::tables::Unit;
use super::view::{Bound, Drop, Figure, View};
use crate::human::{bytes, count};

/// A whole table.
pub fn table(view: &View) -> String {
    let mut text = String::new();
    let mut section = |title: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            text +=
                &format!("{title}\n{}\n", lines.iter().map(|line| format!("  {line}\n")).collect::<String>());
        }
    };
    section("services", services(view));
    section("per second", figures(&view.rates));
    section("now", figures(&view.levels));
    section("memory", vec![memory(view)]);
    section("used of limit", view.bounds.iter().map(bound).collect());
    section("dropped or refused", view.drops.iter().map(drop_line).collect());
    text
}

/// A line per service.
pub fn services(view: &View) -> Vec<String> {
    let lines = view.services.iter();
    lines.map(|service| format!("{:<22} {:<20} {}", service.address, service.name, service.state)).collect()
}

/// A line per number.
pub fn figures(figures: &[Figure]) -> Vec<String> {
    figures
        .iter()
        .map(|figure| format!("{:<34}{:>14}", figure.name, amount(figure.value, figure.unit)))
        .collect()
}

/// Planned, accounted, resident, budget.
pub fn memory(view: &View) -> String {
    let memory = &view.memory;
    let planned = memory.planned.map_or("not asked".to_owned(), |planned| bytes(planned as u64));
    format!(
        "planned {planned} · accounted {} · resident {} · budget {}",
        bytes(memory.accounted as u64),
        bytes(memory.resident as u64),
        bytes(memory.budget as u64)
    )
}

/// One bounded resource; the share first, so that a narrow terminal does not cut it.
pub fn bound(bound: &Bound) -> String {
    let value = |value| amount(Some(value), bound.unit);
    let service = bound.service.strip_prefix("evenkeel-").unwrap_or(&bound.service);
    format!(
        "{:>3.0} % {:<10} {:<14} {:>9} of {}",
        share(bound) * 100.0,
        service,
        bound.name,
        value(bound.used),
        value(bound.limit),
    )
}

/// How much of it is used, 0 to 1.
pub fn share(bound: &Bound) -> f64 {
    if bound.limit > 0.0 { (bound.used / bound.limit).clamp(0.0, 1.0) } else { 0.0 }
}

/// One reason.
pub fn drop_line(drop: &Drop) -> String {
    let what = format!("{} {}", drop.place, drop.reason);
    format!("{what:<28} {:>8.1} /s {:>12}", drop.rate, count(drop.total as u64))
}

fn amount(value: Option<f64>, unit: Unit) -> String {
    match (value, unit) {
        (None, _) => "-".to_owned(),
        (Some(value), Unit::Bytes) => bytes(value.max(0.0) as u64),
        (Some(value), Unit::Seconds) if value.is_infinite() => "off the scale".to_owned(),
        (Some(value), Unit::Seconds) => format!("{value:.3} s"),
        (Some(value), Unit::Count) if value.abs() < 100.0 && value.fract() != 0.0 => format!("{value:.1}"),
        (Some(value), Unit::Count) if value < 0.0 => format!("-{}", count(-value as u64)),
        (Some(value), Unit::Count) => count(value.round() as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_well() {
        let of = |value, unit| amount(Some(value), unit);
        assert_eq!(
            [amount(None, Unit::Count), of(0.25, Unit::Count), of(1234.4, Unit::Count)],
            ["-", "0.2", "1,234"]
        );
        assert_eq!([of(1.5, Unit::Seconds), of(f64::INFINITY, Unit::Seconds)], ["1.500 s", "off the scale"]);
        assert_eq!([of(1536.0, Unit::Bytes), of(-3.0, Unit::Count)], ["1.5 KiB", "-3"]);
    }

    #[test]
    fn a_limit_of_nothing_is_no_share() {
        let bound = Bound { service: "s".into(), name: "n", used: 5.0, limit: 0.0, unit: Unit::Count };
        assert_eq!(share(&bound), 0.0);
        assert_eq!(share(&Bound { limit: 4.0, ..bound }), 1.0);
    }
}
