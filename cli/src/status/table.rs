//! Text in columns, at most [`WIDTH`] wide.

/// Columns of the narrowest terminal in common use that we draw for.
pub const WIDTH: usize = 100;
/// Between two columns.
const GUTTER: usize = 2;
/// A shortened column keeps at least this.
const NARROWEST: usize = 12;

/// How a text stands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    Plain,
    Title,
    Faint,
    Good,
    Warn,
    Bad,
}

impl Paint {
    /// The text in this paint, where colours are wanted.
    pub fn apply(self, text: &str, color: bool) -> String {
        let code = match self {
            Self::Plain => return text.to_owned(),
            Self::Title => "1",
            Self::Faint => "2",
            Self::Good => "32",
            Self::Warn => "33",
            Self::Bad => "31",
        };
        if color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// One field of a table.
#[derive(Clone, Debug)]
pub struct Cell {
    text: String,
    paint: Paint,
}

/// A field in the usual paint.
pub fn cell(text: impl AsRef<str>) -> Cell {
    painted(text, Paint::Plain)
}

/// A field that stands out.
pub fn painted(text: impl AsRef<str>, paint: Paint) -> Cell {
    Cell { text: printable(text.as_ref()), paint }
}

/// Names come from containers and peers: what would steer a terminal is shown as `?`.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// Rows under a heading each.
pub struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// No rows yet. A heading that starts with `>` has its column aligned to the right.
    pub fn new(headings: &[&'static str]) -> Self {
        Self { headings: headings.to_vec(), rows: Vec::new() }
    }

    /// Adds a row: one field for each heading.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Lines with their ends; the widest columns are shortened until everything fits.
    pub fn draw(&self, color: bool) -> String {
        let widths = self.widths();
        let headings =
            self.headings.iter().map(|h| painted(h.trim_start_matches('>'), Paint::Faint)).collect();
        let mut text = String::new();
        for row in std::iter::once(&headings).chain(&self.rows) {
            text.push_str(&self.line(row, &widths, color));
            text.push('\n');
        }
        text
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = self.headings.iter().map(|h| h.trim_start_matches('>').len()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.text.chars().count());
            }
        }
        let room = WIDTH.saturating_sub(GUTTER * widths.len().saturating_sub(1));
        while widths.iter().sum::<usize>() > room {
            match widths.iter_mut().max().filter(|widest| **widest > NARROWEST) {
                Some(widest) => *widest -= 1,
                None => break,
            }
        }
        widths
    }

    fn line(&self, row: &[Cell], widths: &[usize], color: bool) -> String {
        let mut line = String::new();
        let mut owed = 0;
        for ((cell, width), heading) in row.iter().zip(widths).zip(&self.headings) {
            let text = shorten(&cell.text, *width);
            let free = width.saturating_sub(text.chars().count());
            let (before, after) = if heading.starts_with('>') { (free, 0) } else { (0, free) };
            if !text.is_empty() {
                line.push_str(&" ".repeat(owed + before));
                line.push_str(&cell.paint.apply(&text, color));
                owed = 0;
            } else {
                owed += before;
            }
            owed += after + GUTTER;
        }
        line
    }
}

fn shorten(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// Words into lines of at most [`WIDTH`], each indented by `indent`.
pub fn wrap(text: &str, indent: usize) -> String {
    let mut lines = String::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in printable(paragraph).split_whitespace() {
            if !line.is_empty() && indent + line.chars().count() + 1 + word.chars().count() > WIDTH {
                lines.push_str(&format!("{}{line}\n", " ".repeat(indent)));
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push_str(&format!("{}{line}\n", " ".repeat(indent)));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_ends_are_bare() {
        let mut table = Table::new(&["NAME", ">N", "LAST"]);
        table.row([cell("a"), cell("1"), cell("")]);
        table.row([cell("long-name"), cell("100"), painted("x", Paint::Bad)]);
        assert_eq!(table.draw(false), "NAME         N  LAST\na            1\nlong-name  100  x\n");
        assert!(table.draw(true).ends_with("long-name  100  \x1b[31mx\x1b[0m\n"));
    }

    #[test]
    fn what_is_too_wide_is_shortened_and_never_steers_the_terminal() {
        let mut table = Table::new(&["A", "B"]);
        table.row([cell("x".repeat(90)), cell("\x1b[2J".to_owned() + &"y".repeat(40))]);
        let drawn = table.draw(false);
        assert!(drawn.lines().all(|line| line.chars().count() <= WIDTH), "{drawn}");
        assert!(drawn.contains('…') && drawn.contains("?[2J"), "{drawn}");
    }

    #[test]
    fn wrapped_text_keeps_its_indent() {
        let text = wrap(&"word ".repeat(40), 4);
        assert!(text.lines().all(|line| line.starts_with("    word") && line.chars().count() <= WIDTH));
        assert_eq!(text.lines().count(), 3);
    }
}
