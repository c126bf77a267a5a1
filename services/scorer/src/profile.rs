//! What a model was trained on, column by column, as the scorer of windows takes it for its drift figures.

use crate::error::RunError;
use crate::input::read_rows;
use crate::output::Staged;
use evenkeel_scoring::{BindError, FeatureProfile, FrameColumn, Profile};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Largest file of rows, bytes of its cells.
const INPUT_BYTES_MAX: u64 = 1 << 30;

/// Writes the profile of the columns of numbers of `input`, or of those that `features` names, in `bins` bins each of
/// about the same share; the columns it is of.
pub fn write_profile(
    input: &Path,
    features: &[String],
    bins: usize,
    out: &Path,
) -> Result<Vec<String>, RunError> {
    let frame = read_rows(input, INPUT_BYTES_MAX)?;
    let bind = |source| RunError::Bind { path: input.to_owned(), source };
    let chosen: Vec<&FrameColumn> = match features {
        [] => frame.columns.iter().filter(|column| column.numbers.is_some()).collect(),
        names => names.iter().map(|name| column(&frame, name)).collect::<Result<_, _>>().map_err(bind)?,
    };
    let of = |column: &&FrameColumn| {
        let numbers = column.numbers.as_deref().unwrap_or_default();
        (column.name.clone(), FeatureProfile::of(numbers, bins))
    };
    let profile = Profile { features: chosen.iter().map(of).collect() };
    let name = out.file_name().unwrap_or_default().to_string_lossy();
    let folder = out.parent().map_or_else(PathBuf::new, Path::to_owned);
    let folder = if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder };
    let mut file = Staged::create(&folder, &name)?;
    let written = serde_json::to_writer_pretty(&mut file, &profile).map_err(std::io::Error::from);
    written.and_then(|()| file.write_all(b"\n")).map_err(|source| file.failed(source))?;
    file.finish()?;
    Ok(profile.features.into_keys().collect())
}

/// A column of numbers.
fn column<'a>(frame: &'a evenkeel_scoring::Frame, name: &str) -> Result<&'a FrameColumn, BindError> {
    let found = || frame.columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(", ");
    let column =
        frame.column(name).ok_or_else(|| BindError::Missing { name: name.to_owned(), found: found() })?;
    match (&column.numbers, column.first_text()) {
        (Some(_), _) => Ok(column),
        (None, Some((row, cell))) => Err(BindError::Text {
            column: name.to_owned(),
            row: row + 1,
            cell: cell.chars().take(64).collect(),
        }),
        (None, None) => Err(BindError::Empty { column: name.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_of_the_numbers_and_can_be_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let (input, out) = (dir.path().join("rows.csv"), dir.path().join("deep/profile.json"));
        std::fs::write(&input, "a,room,b\n1,attic,5\n2,hall,\n3,hall,7\n4,attic,8\n").unwrap();
        assert_eq!(write_profile(&input, &[], 2, &out).unwrap(), ["a", "b"]);
        let profile = Profile::parse(&std::fs::read_to_string(&out).unwrap()).unwrap();
        assert_eq!(profile.features["b"].shares.last(), Some(&0.25), "one is missing");
        assert_eq!(profile.features["a"], FeatureProfile::of(&[1.0, 2.0, 3.0, 4.0], 2));
        assert_eq!(write_profile(&input, &["b".to_owned()], 2, &out).unwrap(), ["b"]);
    }

    #[test]
    fn text_and_what_is_not_there_are_refused_and_nothing_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let (input, out) = (dir.path().join("rows.csv"), dir.path().join("profile.json"));
        std::fs::write(&input, "a,room\n1,attic\n").unwrap();
        let refused =
            |name: &str| write_profile(&input, &[name.to_owned()], 10, &out).unwrap_err().to_string();
        assert!(refused("room").contains("attic"), "{}", refused("room"));
        assert!(refused("c").contains("a, room"), "{}", refused("c"));
        assert!(!out.exists());
    }
}
