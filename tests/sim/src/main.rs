//! `cargo sim --seeds N --first-seed S`: random histories over the real drivers, judged.
//!
//! A failing seed is printed with what broke and the command that repeats it; `--show SEED` tells its story
//! (`--named TEXT` that of a history of the catalogue), `--shrink SEED` finds a short scenario that breaks the same rule. Exit code 1 if anything failed.

use anyhow::{Context, Result, bail};
use evenkeel_scenarios::{Scenario, catalogue};
use evenkeel_sim::{Totals, examine, run, scenario_of, shrink};
use std::process::ExitCode;

/// What to do.
enum Ask {
    Sweep { first: u64, seeds: u64 },
    Show(u64),
    Named(String),
    Shrink(u64),
}

const USAGE: &str = "usage: cargo sim [--seeds N] [--first-seed S] | --show SEED | --named TEXT | --shrink SEED   [--break RULE]";

fn main() -> ExitCode {
    match asked(std::env::args().skip(1)).and_then(answer) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error:#}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn asked(mut args: impl Iterator<Item = String>) -> Result<Ask> {
    let (mut first, mut seeds, mut one) = (0, 300, None);
    while let Some(name) = args.next() {
        let value = args.next().with_context(|| format!("{name} needs a value"))?;
        let number = || value.parse::<u64>().with_context(|| format!("{name} {value}: not a number"));
        match name.as_str() {
            "--seeds" => seeds = number()?,
            "--first-seed" => first = number()?,
            "--show" => one = Some(Ask::Show(number()?)),
            "--shrink" => one = Some(Ask::Shrink(number()?)),
            "--named" => one = Some(Ask::Named(value)),
            "--break" => break_rule(&value)?,
            _ => bail!("{name} is not known"),
        }
    }
    Ok(one.unwrap_or(Ask::Sweep { first, seeds }))
}

#[cfg(feature = "sabotage")]
fn break_rule(name: &str) -> Result<()> {
    let found = evenkeel_window::Sabotage::ALL.into_iter().find(|rule| format!("{rule:?}") == name);
    evenkeel_window::plant(Some(found.with_context(|| format!("no rule is called {name}"))?));
    Ok(())
}

#[cfg(not(feature = "sabotage"))]
fn break_rule(_: &str) -> Result<()> {
    bail!("--break needs the feature `sabotage`: cargo run -p evenkeel-sim --features sabotage -- …")
}

fn answer(ask: Ask) -> Result<ExitCode> {
    match ask {
        Ask::Sweep { first, seeds } => Ok(sweep(first, seeds)),
        Ask::Show(seed) => Ok(show(&scenario_of(seed))),
        Ask::Named(text) => {
            let found = catalogue::all().into_iter().find(|scenario| scenario.name.contains(&text));
            Ok(show(&found.with_context(|| format!("no history's name contains {text:?}"))?))
        }
        Ask::Shrink(seed) => {
            let scenario = scenario_of(seed);
            let found = run(&scenario).violations.first().map(|violation| violation.rule);
            let Some(rule) = found else { bail!("seed {seed} breaks no rule") };
            let short = shrink(&scenario, rule, 3_000);
            println!("{:#?}", short.settings);
            short.steps.iter().for_each(|step| println!("{step:?}"));
            Ok(show(&short))
        }
    }
}

/// Plays a scenario and tells its story.
fn show(scenario: &Scenario) -> ExitCode {
    let report = run(scenario);
    report.trace.lines().iter().for_each(|line| println!("{line}"));
    report.violations.iter().for_each(|violation| println!("{violation}"));
    ExitCode::from(u8::from(!report.violations.is_empty()))
}

fn sweep(first: u64, seeds: u64) -> ExitCode {
    let mut totals = Totals::default();
    for seed in first..first + seeds {
        let findings = examine(seed, &mut totals);
        if findings.is_empty() {
            continue;
        }
        println!("seed {seed}: {} findings; again: cargo sim --show {seed}", findings.len());
        findings.iter().take(3).for_each(|violation| println!("    {violation}"));
    }
    println!("{totals}");
    ExitCode::from(u8::from(totals.failed > 0))
}
