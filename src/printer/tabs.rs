//! [`align`]: columns from tab-separated text, by the rules kubectl's output follows (Go's text/tabwriter).

/// How cells are laid out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    /// Least width of a cell, padding included.
    pub(crate) min_width: usize,
    /// Blanks after the widest cell.
    pub(crate) padding: usize,
}

/// Tables of `get`.
pub(crate) const TABLE: Layout = Layout { min_width: 6, padding: 3 };
/// Text of `describe`.
pub(crate) const DESCRIPTION: Layout = Layout { min_width: 0, padding: 2 };

/// Replaces the tabs of `text`. A column is made of tab-ended cells in adjacent lines, and as wide as its widest cell; what follows a
/// line's last tab belongs to no column. A line without that tab ends the column.
pub(crate) fn align(text: &str, layout: Layout) -> String {
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    let mut widths = vec![Vec::new(); lines.len()];
    columns(&lines, &mut widths, 0, layout);
    let mut out = String::with_capacity(text.len().saturating_mul(2));
    for (cells, widths) in lines.iter().zip(&widths) {
        for (index, cell) in cells.iter().enumerate() {
            out.push_str(cell);
            if let Some(width) = widths.get(index) {
                out.extend(std::iter::repeat_n(' ', width_of(cell, *width)));
            }
        }
        out.push('\n');
    }
    out
}

fn width_of(cell: &str, width: usize) -> usize {
    width.saturating_sub(cell.chars().count())
}

/// Sets the width of column `index` in each run of lines that have it, then of the columns to its right within that run.
fn columns(lines: &[Vec<&str>], widths: &mut [Vec<usize>], index: usize, layout: Layout) {
    let mut rest = lines;
    let mut rest_widths = widths;
    while !rest.is_empty() {
        let has = |cells: &Vec<&str>| index.saturating_add(1) < cells.len();
        let skip = rest.iter().take_while(|cells| !has(cells)).count();
        let run = rest.iter().skip(skip).take_while(|cells| has(cells)).count();
        let (_, tail) = rest.split_at(skip);
        let (block, tail) = tail.split_at(run);
        let (_, tail_widths) = std::mem::take(&mut rest_widths).split_at_mut(skip);
        let (block_widths, tail_widths) = tail_widths.split_at_mut(run);
        let widest = block.iter().filter_map(|cells| cells.get(index)).map(|cell| cell.chars().count()).max();
        if let Some(widest) = widest {
            let width = widest.saturating_add(layout.padding).max(layout.min_width);
            for widths in block_widths.iter_mut() {
                widths.push(width);
            }
            columns(block, block_widths, index.saturating_add(1), layout);
        }
        rest = tail;
        rest_widths = tail_widths;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_pads_to_the_widest_cell_plus_three_and_at_least_six() {
        let text = "NAME\tREADY\tAGE\na-long-name\t1/1\t5s\n";
        assert_eq!(align(text, TABLE), "NAME          READY   AGE\na-long-name   1/1     5s\n");
        assert_eq!(align("A\tB\nx\ty\n", TABLE), "A     B\nx     y\n");
    }

    #[test]
    fn a_line_without_the_cell_ends_the_column() {
        let text = "Name:\tweb\nNamespace:\tdefault\nContainers:\n  app:\n    Image:\tx\n";
        assert_eq!(
            align(text, DESCRIPTION),
            "Name:       web\nNamespace:  default\nContainers:\n  app:\n    Image:  x\n"
        );
    }

    #[test]
    fn inner_columns_align_only_within_their_run() {
        let text = "a\tb\tc\naa\tbbb\tc\na\tb\na\tbbbbbb\tc\n";
        assert_eq!(align(text, DESCRIPTION), "a   b    c\naa  bbb  c\na   b\na   bbbbbb  c\n");
    }
}
