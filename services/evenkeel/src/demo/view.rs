//! The demo on a terminal: what flows, what closes, what is refused, and that the ledger reads 0.

use crate::human::{bytes, count};
use evenkeel_model::{ClosedBy, DropReason};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Cell, Gauge, Paragraph, Row, Sparkline, Table};
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
    /// Alerts raised, and cleared.
    pub alerts: (u64, u64),
    /// What `plan` says this fleet costs, bytes.
    pub planned_bytes: u64,
    /// Resident memory of the process, bytes.
    pub resident_bytes: u64,
    /// The last problem, if any.
    pub problem: Option<String>,
    /// The last log lines, oldest first.
    pub log: Vec<String>,
    /// The fleet has ended; the windows are being closed.
    pub ending: bool,
}

/// Rates that are kept: a column each on a wide terminal.
pub const RATES_MAX: usize = 240;
/// Log lines that are kept.
pub const LOG_LINES: usize = 5;
/// Rows from which on a terminal has room for log lines.
const TALL_ROWS: u16 = 36;
/// Refreshes of a second.
const REFRESHES: usize = 4;

impl Screen {
    /// One line for a log or a pipe.
    pub fn line(&self) -> String {
        let rows: u64 = self.coalescer.rows.values().flatten().sum();
        format!(
            "{:>4} s  {:>7} events/s  acknowledged {:>9}  rows {:>7}  stored {:>7}  late merged {:>5}  duplicates {:>5}  future {:>5}  alerts {:>2}  cleared {:>2}  ledger {}  resident {}",
            self.elapsed.as_secs(),
            self.rate_now(),
            count(self.acknowledged),
            count(rows),
            count(self.sink.rows),
            count(self.sink.late_merged),
            count(self.reason(DropReason::Duplicate)),
            count(self.reason(DropReason::Future)),
            self.alerts.0,
            self.alerts.1,
            self.imbalance(),
            bytes(self.resident_bytes),
        )
    }

    /// Events per second over the last second.
    fn rate_now(&self) -> u64 {
        let newest = self.rates.iter().rev().take(REFRESHES);
        newest.sum::<u64>() / self.rates.len().clamp(1, REFRESHES) as u64
    }

    /// The ledger: must read 0.
    pub fn imbalance(&self) -> i64 {
        self.coalescer.ledger.sizes.iter().map(|s| s.imbalance().abs()).sum()
    }

    /// Events of the base size by reason.
    pub fn reason(&self, reason: DropReason) -> u64 {
        self.coalescer.ledger.sizes.first().map_or(0, |s| s.reasons[reason.index()])
    }

    /// Draws everything. On 80 by 24 every panel is whole; a larger terminal shows more of the past, every
    /// reason, and the last log lines.
    pub fn draw(&self, frame: &mut Frame<'_>) {
        let tall = frame.area().height >= TALL_ROWS;
        let [head, middle, memory, log, foot] = Layout::vertical([
            Constraint::Length(4),
            Constraint::Min(12),
            Constraint::Length(3),
            Constraint::Length(if tall { LOG_LINES as u16 + 2 } else { 0 }),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        let [left, right] = Layout::horizontal([Constraint::Percentage(50); 2]).areas(middle);
        let table_rows = ClosedBy::ALL.len() as u16 + 2; // without `late`, with header and border
        let [rate, windows] =
            Layout::vertical([Constraint::Min(3), Constraint::Length(table_rows)]).areas(left);
        frame.render_widget(self.head(), head);
        self.rate(frame, rate);
        frame.render_widget(self.windows(), windows);
        frame.render_widget(self.events(right), right);
        self.memory(frame, memory);
        if tall {
            let lines: Vec<Line<'_>> = self.log.iter().map(|line| Line::from(line.as_str())).collect();
            frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(" log ")), log);
        }
        self.foot(frame, foot);
    }

    fn head(&self) -> Paragraph<'_> {
        let of = self.total.map(|t| format!(" of {}", t.as_secs())).unwrap_or_default();
        let first = format!(
            "{} devices, one clock 1 h ahead · {}{of} s · {} storms · {} replays",
            self.devices,
            self.elapsed.as_secs(),
            self.storms,
            self.replays
        );
        let lines = vec![Line::from(first), Line::from(self.addresses.clone())];
        let (raised, cleared) = self.alerts;
        let title = format!(" evenkeel demo · {raised} alerts raised, {cleared} cleared ");
        Paragraph::new(lines).block(Block::bordered().title(title))
    }

    /// The newest rates, as many as there are columns. The number is that of the last second: devices send in
    /// steps, so a single refresh says little.
    fn rate(&self, frame: &mut Frame<'_>, area: Rect) {
        let columns = usize::from(area.width.saturating_sub(2));
        let rates: Vec<u64> =
            self.rates.iter().skip(self.rates.len().saturating_sub(columns)).copied().collect();
        let spark = Sparkline::default().data(&rates).style(Style::new().fg(Color::Cyan));
        let title = format!(" events/s: {} ", count(self.rate_now()));
        frame.render_widget(spark.block(Block::bordered().title(title)), area);
    }

    fn windows(&self) -> Table<'_> {
        let sizes: Vec<i64> = self.coalescer.rows.keys().copied().collect();
        let number = |text: String| Cell::from(Line::from(text).right_aligned());
        let head = std::iter::once(Cell::from("closed by"))
            .chain(sizes.iter().map(|s| number(format!("{} s", s / 1000))));
        let rows = ClosedBy::ALL.iter().filter(|c| **c != ClosedBy::Late).map(|closed_by| {
            let numbers =
                sizes.iter().map(|size| number(count(self.coalescer.rows[size][closed_by.index()])));
            Row::new(std::iter::once(Cell::from(closed_by.to_string())).chain(numbers))
        });
        let widths = std::iter::once(Constraint::Fill(1)).chain(sizes.iter().map(|_| Constraint::Length(11)));
        Table::new(rows, widths)
            .header(Row::new(head).style(Style::new().add_modifier(Modifier::BOLD)))
            .block(Block::bordered().title(" rows sent "))
    }

    /// The ledger as the sum that it is. Where there is no room for every reason, the rare ones share a line.
    fn events(&self, area: Rect) -> Paragraph<'_> {
        const RARE: [DropReason; 4] =
            [DropReason::Malformed, DropReason::Misrouted, DropReason::TooOld, DropReason::Overflow];
        let width = usize::from(area.width.saturating_sub(2));
        let pair =
            |name: &str, value: String| format!("{name:<22}{value:>rest$}", rest = width.saturating_sub(22));
        let base = self.coalescer.ledger.sizes.first().cloned().unwrap_or_default();
        let mut lines = vec![
            pair("acknowledged", count(self.acknowledged)),
            pair("consumed", count(base.consumed)),
            pair("  in rows", count(base.in_rows)),
            pair("  in open windows", count(base.in_open)),
        ];
        let whole = usize::from(area.height) >= lines.len() + DropReason::ALL.len() + 7;
        for reason in DropReason::ALL.iter().filter(|reason| whole || !RARE.contains(reason)) {
            lines.push(pair(&format!("  {reason}"), count(self.reason(*reason))));
        }
        if !whole {
            let rare = RARE.iter().map(|reason| self.reason(*reason)).sum();
            lines.push(pair("  refused otherwise", count(rare)));
        }
        let mut lines: Vec<Line<'_>> = lines.into_iter().map(Line::from).collect();
        let balance = self.imbalance();
        let color = if balance == 0 { Color::Green } else { Color::Red };
        let style = Style::new().fg(color).add_modifier(Modifier::BOLD);
        lines.push(Line::styled(pair("ledger (must be 0)", balance.to_string()), style));
        let ticks = format!("{} ({})", count(self.coalescer.ticks), self.coalescer.ticks_merged);
        let jitter = format!("{:.1} ms", self.coalescer.jitter.as_secs_f64() * 1000.0);
        lines.extend(
            [
                pair("rows stored", count(self.sink.rows)),
                pair("late merged", count(self.sink.late_merged)),
                pair("ticks (merged)", ticks),
                pair("tick jitter", jitter),
            ]
            .map(Line::from),
        );
        let size_s = base.size_ms / 1000;
        Paragraph::new(lines).block(Block::bordered().title(format!(" events ({size_s} s windows) ")))
    }

    fn memory(&self, frame: &mut Frame<'_>, area: Rect) {
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

    /// What is wrong, else what goes on, else how to end.
    fn foot(&self, frame: &mut Frame<'_>, area: Rect) {
        let (text, style) = match (&self.problem, self.ending) {
            (Some(problem), _) => (problem.as_str(), Style::new().fg(Color::Red)),
            (None, true) => ("closing every window, then counting", Style::new()),
            (None, false) => {
                let dim = Style::new().add_modifier(Modifier::DIM);
                (self.log.last().map_or("q or Ctrl-C ends", String::as_str), dim)
            }
        };
        frame.render_widget(Paragraph::new(text).style(style), area);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn screen() -> Screen {
        let mut screen = Screen {
            acknowledged: 1234,
            addresses: "POST http://127.0.0.1:41269/v1/events · GET http://127.0.0.1:41383/metrics".into(),
            devices: 100,
            total: Some(Duration::from_secs(3_600)),
            elapsed: Duration::from_secs(1_234),
            storms: 999,
            replays: 999,
            ..Screen::default()
        };
        screen.coalescer.rows.insert(5_000, [1_234_567; ClosedBy::ALL.len()]);
        screen.coalescer.rows.insert(60_000, [3; ClosedBy::ALL.len()]);
        screen.coalescer.ledger.sizes.push(evenkeel_seam::SizeLedger {
            size_ms: 5000,
            consumed: 27,
            in_rows: 20,
            reasons: [1; 7],
            ..Default::default()
        });
        screen
    }

    fn drawn(screen: &Screen, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| screen.draw(frame)).unwrap();
        let cells: Vec<&str> = terminal.backend().buffer().content().iter().map(|c| c.symbol()).collect();
        cells.chunks(usize::from(width).max(1)).map(|row| row.concat()).collect()
    }

    #[test]
    fn a_plain_terminal_shows_every_panel_whole() {
        let text = drawn(&screen(), 80, 24).join("\n");
        for want in [
            "999 replays",
            "/metrics",
            "events/s",
            "watermark",
            "1,234,567",
            "evicted",
            "end ",
            "1,234│",
            "duplicate",
            "refused otherwise",
            "ledger (must be 0)",
            "late merged",
            "tick jitter",
            "planned",
            "q or Ctrl-C ends",
        ] {
            assert!(text.contains(want), "{want} is missing:\n{text}");
        }
        assert!(screen().line().contains("ledger 0"));
    }

    #[test]
    fn a_large_one_shows_every_reason_and_the_log_and_a_tiny_one_does_not_fail() {
        let mut screen = screen();
        screen.log = vec!["WARN something".into()];
        let text = drawn(&screen, 120, 40).join("\n");
        for want in ["malformed", "misrouted", "too_old", "overflow", " log ", "WARN something"] {
            assert!(text.contains(want), "{want} is missing:\n{text}");
        }
        for (width, height) in [(1, 1), (10, 3), (39, 11)] {
            drawn(&screen, width, height);
        }
    }

    #[test]
    fn the_rates_shown_are_the_newest_and_the_foot_tells_what_goes_on() {
        let mut screen = screen();
        screen.rates = [vec![8; 200], vec![0; 40]].concat().into();
        let blocks = |screen: &Screen| drawn(screen, 80, 24).concat().matches('\u{2588}').count();
        assert_eq!(blocks(&screen), 0, "the last 38 rates are 0");
        screen.rates.push_back(8);
        assert!(blocks(&screen) > 0);
        screen.ending = true;
        assert!(drawn(&screen, 80, 24)[23].starts_with("closing every window"));
        screen.problem = Some("no answer".into());
        assert!(drawn(&screen, 80, 24)[23].starts_with("no answer"));
    }
}
