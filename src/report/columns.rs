//! Text in columns, as a terminal shows it: alignment, styles, lines that fit.
//!
//! Not here: what stands in the columns, and whether colour is wanted (`commands::print`).

use anstyle::Style;
use std::fmt;

/// Columns of a terminal that text keeps within.
pub const WIDTH: usize = 100;

/// Rows whose columns are as wide as their widest cell and two blanks apart (one, where two would
/// not fit [`WIDTH`]). A last column that is aligned left is wrapped where it does not fit.
pub struct Columns {
    /// One `<` (left) or `>` (right) for each column.
    align: String,
    rows: Vec<Row>,
}

enum Row {
    Cells(Vec<Cell>),
    /// Lines between rows, as they are.
    Text(String),
}

/// Text and how it looks. What pads it has no style, and escape sequences have no width.
pub struct Cell {
    text: String,
    style: Style,
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Cell {
        Cell::styled(text, Style::new())
    }
}

impl Cell {
    /// `text` in `style`.
    pub fn styled(text: impl Into<String>, style: Style) -> Cell {
        let text = text.into();
        Cell { text, style }
    }
}

impl Columns {
    /// No rows yet; `align` has a `<` (left) or `>` (right) for each column.
    pub fn new(align: impl Into<String>) -> Columns {
        Columns {
            align: align.into(),
            rows: Vec::new(),
        }
    }

    /// Add a row of at most as many cells as there are columns.
    pub fn row<C: Into<Cell>>(&mut self, cells: impl IntoIterator<Item = C>) {
        let cells = cells.into_iter().map(C::into).collect();
        self.rows.push(Row::Cells(cells));
    }

    /// Add a row that is all in one style.
    pub fn styled<T: Into<String>>(&mut self, style: Style, cells: impl IntoIterator<Item = T>) {
        self.row(cells.into_iter().map(|text| Cell::styled(text, style)));
    }

    /// Add lines that go across all columns.
    pub fn text(&mut self, lines: impl Into<String>) {
        self.rows.push(Row::Text(lines.into()));
    }
}

impl fmt::Display for Columns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chars = |text: &str| text.chars().count();
        let last = self.align.len() - 1;
        let wraps = |column| column == last && self.align.ends_with('<');
        let mut widths = vec![0; self.align.len()];
        for row in &self.rows {
            let Row::Cells(cells) = row else { continue };
            for (column, Cell { text, .. }) in cells.iter().enumerate() {
                let words = || text.split(' ').map(chars).max().unwrap_or(0);
                let width = if wraps(column) { words() } else { chars(text) };
                widths[column] = widths[column].max(width);
            }
        }
        let gap = 2 - usize::from(widths.iter().sum::<usize>() + 2 * last > WIDTH);
        for row in &self.rows {
            let cells = match row {
                Row::Cells(cells) => cells,
                Row::Text(lines) => {
                    f.write_str(lines)?;
                    continue;
                }
            };
            let (mut start, mut end) = (0, 0);
            for (column, Cell { text, style }) in cells.iter().enumerate() {
                let (wide, narrow) = (widths[column], chars(text));
                let at = match self.align.as_bytes()[column] {
                    b'>' => start + wide - narrow,
                    _ => start,
                };
                // Blanks are written only before something.
                if wraps(column) && at + narrow > WIDTH {
                    let text = wrap(text, &" ".repeat(at));
                    write!(f, "{:1$}{style}{2}{style:#}", "", at - end, text.trim())?;
                } else if !text.is_empty() {
                    let text = text.trim_end();
                    write!(f, "{:1$}{style}{text}{style:#}", "", at - end)?;
                    end = at + chars(text);
                }
                start += wide + gap;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// `text` in lines that keep within [`WIDTH`], each after `indent`.
pub fn wrap(text: &str, indent: &str) -> String {
    let mut lines = indent.to_owned();
    let (margin, mut column) = (indent.chars().count(), 0);
    for word in text.split_whitespace() {
        let width = word.chars().count();
        if column > 0 && margin + column + 1 + width > WIDTH {
            lines = lines + "\n" + indent;
            column = 0;
        } else if column > 0 {
            lines.push(' ');
            column += 1;
        }
        lines.push_str(word);
        column += width;
    }
    lines + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use anstyle::AnsiColor;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_lines_end_without_blanks() {
        let mut table = Columns::new("<><");
        table.row(["name", "µs", "note"]);
        table.row(["a", "1000", ""]);
        table.text("  between\n");
        table.row(["long name", "", "x"]);
        let expected = "name         µs  note\na          1000\n  between\nlong name        x\n";
        assert_eq!(table.to_string(), expected);
    }

    #[test]
    fn every_line_keeps_within_the_terminal() {
        let mut table = Columns::new("<<");
        table.row(["a", &"word ".repeat(30)]);
        table.row(["long", &"x".repeat(WIDTH - 5)]);
        table.text(wrap("", "  "));
        let text = table.to_string();
        // The columns moved together for the long word, and the other row is wrapped below itself.
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("a    word") && lines[1].starts_with("     word"));
        assert!(lines.iter().all(|line| line.len() <= WIDTH), "{text}");
        assert_eq!(text.matches("word").count(), 30);
        assert_eq!(
            lines[2..],
            [&format!("long {}", "x".repeat(WIDTH - 5)), "  "]
        );
    }

    #[test]
    fn a_style_changes_no_width() {
        let mut table = Columns::new("<<");
        table.row([
            Cell::from("a"),
            Cell::styled("yes", AnsiColor::Red.on_default()),
        ]);
        table.styled(Style::new().bold(), ["long", "no"]);
        let plain = anstream::adapter::strip_str(&table.to_string()).to_string();
        assert_eq!(plain, "a     yes\nlong  no\n");
    }
}
