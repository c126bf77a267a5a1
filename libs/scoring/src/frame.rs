//! Rows to be scored, column by column.

/// What stands for a missing number in a column of numbers. In a column of text these are texts.
const MISSING: &[&str] = &["", "NA", "N/A", "NaN", "nan", "NULL", "null", "None", "-nan"];

/// Whether a cell of a column of numbers is empty.
pub fn is_missing(cell: &str) -> bool {
    MISSING.contains(&cell)
}

/// A column: its cells as they were written, and as numbers if they all are.
#[derive(Debug, Clone, PartialEq)]
pub struct FrameColumn {
    /// Its name.
    pub name: String,
    /// Its cells; empty for numbers that were never text.
    pub cells: Vec<String>,
    /// The same as numbers, NaN where one is missing; `None` if some cell is no number, or no cell is one.
    pub numbers: Option<Vec<f64>>,
}

/// Rows: columns of one length.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Frame {
    /// The columns, in the order of the file.
    pub columns: Vec<FrameColumn>,
    /// How many rows.
    pub rows: usize,
}

impl FrameColumn {
    /// A column of a text file.
    pub fn of_cells(name: String, cells: Vec<String>) -> Self {
        let numbers = numbers(&cells);
        Self { name, cells, numbers }
    }

    /// A column of numbers, NaN where one is missing.
    pub fn of_numbers(name: String, numbers: Vec<f64>) -> Self {
        Self { name, cells: Vec::new(), numbers: Some(numbers) }
    }

    /// The first cell that is no number, and its row from 0.
    pub fn first_text(&self) -> Option<(usize, &str)> {
        let text = |cell: &&String| !is_missing(cell.trim()) && number(cell).is_none();
        let at = self.cells.iter().position(|cell| text(&cell))?;
        Some((at, &self.cells[at]))
    }
}

impl Frame {
    /// A column by its name.
    pub fn column(&self, name: &str) -> Option<&FrameColumn> {
        self.columns.iter().find(|column| column.name == name)
    }
}

fn numbers(cells: &[String]) -> Option<Vec<f64>> {
    let mut any = cells.is_empty();
    let mut numbers = Vec::with_capacity(cells.len());
    for cell in cells {
        if is_missing(cell.trim()) {
            numbers.push(f64::NAN);
        } else {
            numbers.push(number(cell)?);
            any = true;
        }
    }
    any.then_some(numbers)
}

/// A number as CSV files hold it; booleans as 1 and 0.
fn number(cell: &str) -> Option<f64> {
    match cell.trim() {
        "true" | "True" | "TRUE" => Some(1.0),
        "false" | "False" | "FALSE" => Some(0.0),
        cell => cell.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(cells: &[&str]) -> FrameColumn {
        FrameColumn::of_cells("c".to_owned(), cells.iter().map(|&c| c.to_owned()).collect())
    }

    #[test]
    fn na_is_missing_among_numbers_and_text_among_text() {
        let numbers = column(&["1.5", "NA", " 2 ", "true", ""]).numbers.unwrap();
        assert_eq!((numbers[0], numbers[2], numbers[3]), (1.5, 2.0, 1.0));
        assert!(numbers[1].is_nan() && numbers[4].is_nan());
        let text = column(&["NA", "attic"]);
        assert_eq!((text.numbers.is_none(), text.cells[0].as_str()), (true, "NA"));
        assert_eq!(text.first_text(), Some((1, "attic")));
        assert!(column(&["NA", ""]).numbers.is_none(), "nothing says that it is a column of numbers");
    }
}
