//! The view on a terminal.

use super::plain;
use super::view::View;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Paragraph};

/// From this share on a bound is shown as nearly full.
const NEARLY: f64 = 0.8;
/// From this one as full.
const FULL: f64 = 0.95;

/// Draws everything; what has no room is cut at the bottom of its panel. `foot`: how to end, or what is wrong.
pub fn draw(view: &View, frame: &mut Frame<'_>, foot: &str) {
    let services = view.services.len() as u16 + 2;
    let [head, middle, memory, lower, last] = Layout::vertical([
        Constraint::Length(services.min(10)),
        Constraint::Length(view.rates.len().max(view.levels.len()) as u16 + 2),
        Constraint::Length(3),
        Constraint::Min(3),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let [rates, levels] = Layout::horizontal([Constraint::Percentage(50); 2]).areas(middle);
    let [bounds, drops] =
        Layout::horizontal([Constraint::Percentage(55), Constraint::Percentage(45)]).areas(lower);
    panel(frame, head, " services ", plain::services(view).into_iter().map(state).collect());
    panel(frame, rates, " per second ", lines(plain::figures(&view.rates)));
    panel(frame, levels, " now ", lines(plain::figures(&view.levels)));
    panel(frame, memory, " memory ", vec![Line::from(plain::memory(view))]);
    let filled = view.bounds.iter().map(|bound| {
        let style = match plain::share(bound) {
            share if share >= FULL => Style::new().fg(Color::Red),
            share if share >= NEARLY => Style::new().fg(Color::Yellow),
            _ => Style::new(),
        };
        Line::styled(plain::bound(bound), style)
    });
    panel(frame, bounds, " used of limit ", filled.collect());
    panel(frame, drops, " dropped or refused ", lines(view.drops.iter().map(plain::drop_line).collect()));
    frame.render_widget(Paragraph::new(foot).style(Style::new().add_modifier(Modifier::DIM)), last);
}

fn lines(texts: Vec<String>) -> Vec<Line<'static>> {
    texts.into_iter().map(Line::from).collect()
}

fn state(line: String) -> Line<'static> {
    let color = match () {
        () if line.contains(" away: ") => Color::Red,
        () if line.contains(" not ready: ") => Color::Yellow,
        () => Color::Green,
    };
    Line::styled(line, Style::new().fg(color))
}

fn panel(frame: &mut Frame<'_>, area: Rect, title: &'static str, lines: Vec<Line<'static>>) {
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(title)), area);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::{Reading, Scrape};
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn drawn(width: u16, height: u16) -> String {
        let text = "evenkeel_build_info{service=\"evenkeel\"} 1\nevenkeel_ingest_queue_depth_bytes 90\n\
                    evenkeel_ingest_queue_limit_bytes 100\nevenkeel_ingest_events_total{outcome=\"malformed\"} 4\n";
        let now = Ok(Scrape::parse(text));
        let heard = Reading { address: "127.0.0.1:9464".into(), before: None, now };
        let away = Reading { address: "127.0.0.1:1".into(), before: None, now: Err("refused".into()) };
        let view = View::of(&[heard, away], 1.0, Some(5 << 20));
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(&view, frame, "q ends")).unwrap();
        let cells: Vec<&str> = terminal.backend().buffer().content().iter().map(|c| c.symbol()).collect();
        cells.chunks(usize::from(width).max(1)).map(|row| row.concat() + "\n").collect()
    }

    #[test]
    fn a_terminal_shows_every_panel_and_a_tiny_one_does_not_fail() {
        let text = drawn(120, 36);
        for want in [
            "127.0.0.1:9464",
            "away: refused",
            "events accepted",
            "watermark lag",
            "planned 5.0 MiB",
            "in flight",
            "90 % evenkeel",
            "malformed",
            "q ends",
        ] {
            assert!(text.contains(want), "{want} is missing:\n{text}");
        }
        for (width, height) in [(1, 1), (20, 5), (80, 24)] {
            drawn(width, height);
        }
    }
}
