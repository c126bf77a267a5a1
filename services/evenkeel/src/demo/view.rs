//! The demo on a terminal: what flows, what closes, what is refused, and that the ledger reads 0.

use crate::human::{bytes, count};
use evenkeel_model::{ClosedBy, DropReason};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Gauge, Paragraph, Row, Sparkline, Table};
use std::collections::VecDeque;
use std::time::Duration;

/// What the demo shows, gathered once per refresh.
#[derive(Debug, Clone, Default)]
pub struct Screen {
    /// Time since the start, and the time it runs for if that is limited.
    pub elapsed: Duration,
    /// See `elapsed`.
    pub total: Option<Duration>,
    /// Where ingest and the metrics are.
    pub addresses: String,
    /// Simulated devices.
    pub devices: u64,
    /// Storms and replays so far.
    pub storms: u64,
    /// See `storms`.
    pub replays: u64,
    /// Events acknowledged by ingest.
    pub acknowledged: u64,
    /// Events per second, one number per refresh, newest last.
    pub rates: VecDeque<u64>,
    /// The coalescer.
    pub coalescer: evenkeel_coalescer::Status,
    /// The sink.
    pub sink: evenkeel_sink::Status,
    /// What `plan` says this fleet costs, bytes.
    pub planned_bytes: u64,
    /// Resident memory of the process, bytes.
    pub resident_bytes: u64,
    /// The last problem, if any.
    pub problem: Option<String>,
}

/// Rates that are kept.
pub const RATES_MAX: usize = 120;

impl Screen {
    /// One line for a log or a pipe.
    pub fn line(&self) -> String {
        let rows: u64 = self.coalescer.rows.values().flatten().sum();
        format!(
            "{:>4} s  {:>7} events/s  acknowledged {:>9}  rows {:>7}  stored {:>7}  late merged {:>5}  duplicates {:>5}  future {:>5}  ledger {}  resident {}",
            self.elapsed.as_secs(),
            self.rates.back().copied().unwrap_or(0),
            count(self.acknowledged),
            count(rows),
            count(self.sink.rows),
            count(self.sink.late_merged),
            count(self.reason(DropReason::Duplicate)),
            count(self.reason(DropReason::Future)),
            self.imbalance(),
            bytes(self.resident_bytes),
        )
    }

    /// The ledger: must read 0.
    pub fn imbalance(&self) -> i64 {
        self.coalescer.ledger.sizes.iter().map(|s| s.imbalance().abs()).sum()
    }

    /// Events of the base size by reason.
    pub fn reason(&self, reason: DropReason) -> u64 {
        self.coalescer.ledger.sizes.first().map_or(0, |s| s.reasons[reason.index()])
    }

    /// Draws everything.
    pub fn draw(&self, frame: &mut Frame<'_>) {
        let [head, middle, memory, foot] = Layout::vertical([
            Constraint::Length(4),
            Constraint::Min(12),
            Constraint::Length(5),
            Constraint::Length(2),
        ])
        .areas(frame.area());
        let [left, right] = Layout::horizontal([Constraint::Percentage(50); 2]).areas(middle);
        let [rate, windows] = Layout::vertical([Constraint::Length(6), Constraint::Min(6)]).areas(left);
        frame.render_widget(self.head(), head);
        let rates: Vec<u64> = self.rates.iter().copied().collect();
        let title = format!(" events/s: {} ", rates.last().copied().unwrap_or(0));
        let spark = Sparkline::default().data(&rates).style(Style::new().fg(Color::Cyan));
        frame.render_widget(spark.block(Block::bordered().title(title)), rate);
        frame.render_widget(self.windows(), windows);
        frame.render_widget(self.events(), right);
        self.memory(frame, memory);
        let hint = self.problem.clone().unwrap_or_else(|| "q or Ctrl-C ends".to_owned());
        frame.render_widget(Paragraph::new(hint).style(Style::new().add_modifier(Modifier::DIM)), foot);
    }

    fn head(&self) -> Paragraph<'_> {
        let of = self.total.map(|t| format!(" of {} s", t.as_secs())).unwrap_or_default();
        let first = format!(
            "{} devices · {} s{of} · {} reconnect storms · {} replays · one clock an hour ahead",
            self.devices,
            self.elapsed.as_secs(),
            self.storms,
            self.replays
        );
        let lines = vec![Line::from(first), Line::from(self.addresses.clone())];
        Paragraph::new(lines).block(Block::bordered().title(" evenkeel demo "))
    }

    fn windows(&self) -> Table<'_> {
        let sizes: Vec<i64> = self.coalescer.rows.keys().copied().collect();
        let head = std::iter::once("rows closed by".to_owned())
            .chain(sizes.iter().map(|s| format!("{} s", s / 1000)));
        let rows = ClosedBy::ALL.iter().filter(|c| **c != ClosedBy::Late).map(|closed_by| {
            let numbers = sizes.iter().map(|size| count(self.coalescer.rows[size][closed_by.index()]));
            Row::new(std::iter::once(closed_by.to_string()).chain(numbers).collect::<Vec<_>>())
        });
        let widths =
            std::iter::once(Constraint::Length(16)).chain(sizes.iter().map(|_| Constraint::Length(10)));
        Table::new(rows, widths)
            .header(Row::new(head.collect::<Vec<_>>()).style(Style::new().add_modifier(Modifier::BOLD)))
            .block(Block::bordered().title(" windows "))
    }

    fn events(&self) -> Paragraph<'_> {
        let pair = |name: &str, value: String| Line::from(format!("{name:<22}{value:>14}"));
        let base = self.coalescer.ledger.sizes.first().cloned().unwrap_or_default();
        let mut lines = vec![
            pair("acknowledged", count(self.acknowledged)),
            pair("consumed", count(base.consumed)),
            pair("in rows", count(base.in_rows)),
            pair("in open windows", count(base.in_open)),
        ];
        lines.extend(DropReason::ALL.iter().map(|r| pair(r.as_str(), count(self.reason(*r)))));
        let balance = self.imbalance();
        let color = if balance == 0 { Color::Green } else { Color::Red };
        let text = format!("{:<22}{balance:>14}", "ledger (must be 0)");
        lines.push(Line::from(Span::styled(text, Style::new().fg(color).add_modifier(Modifier::BOLD))));
        lines.push(pair("rows stored", count(self.sink.rows)));
        lines.push(pair("late merged", count(self.sink.late_merged)));
        lines.push(pair(
            "ticks (merged)",
            format!("{} ({})", self.coalescer.ticks, self.coalescer.ticks_merged),
        ));
        lines.push(pair("tick jitter", format!("{:.1} ms", self.coalescer.jitter.as_secs_f64() * 1000.0)));
        Paragraph::new(lines).block(Block::bordered().title(" events (5 s windows) "))
    }

    fn memory(&self, frame: &mut Frame<'_>, area: ratatui::layout::Rect) {
        let budget = self.coalescer.budget_bytes.max(1);
        let label = format!(
            "planned {} · accounted {} · resident {} · budget {}",
            bytes(self.planned_bytes),
            bytes(self.coalescer.used_bytes),
            bytes(self.resident_bytes),
            bytes(budget)
        );
        let ratio = (self.coalescer.used_bytes as f64 / budget as f64).clamp(0.0, 1.0);
        let gauge = Gauge::default().ratio(ratio).label(label).gauge_style(Style::new().fg(Color::Blue));
        frame.render_widget(gauge.block(Block::bordered().title(" memory ")), area);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    #[test]
    fn the_screen_shows_the_ledger_and_fits_a_plain_terminal() {
        let mut screen = Screen { acknowledged: 1234, ..Screen::default() };
        screen.coalescer.rows.insert(5000, [3; ClosedBy::ALL.len()]);
        screen.coalescer.ledger.sizes.push(evenkeel_seam::SizeLedger {
            size_ms: 5000,
            consumed: 7,
            in_rows: 7,
            ..Default::default()
        });
        let mut terminal = Terminal::new(TestBackend::new(100, 32)).unwrap();
        terminal.draw(|frame| screen.draw(frame)).unwrap();
        let text: String = terminal.backend().buffer().content().iter().map(|c| c.symbol()).collect();
        for want in ["ledger (must be 0)", "1,234", "watermark", "duplicate", "planned", "tick jitter"] {
            assert!(text.contains(want), "{want} is missing");
        }
        assert!(screen.line().contains("ledger 0"));
    }
}
