//! [`draw`]: the picture, one row a part, as `systemd-analyze plot` has it.

use std::fmt::Write as _;

use super::{First, Part, milliseconds};

/// Pixels the longest boot takes.
const WIDTH: u64 = 1100;
/// Pixels left of the first moment, and right of the last for its label.
const MARGIN: u64 = 20;
const LABELS: u64 = 330;
/// Pixels above the first row, and of each row.
const HEAD: u64 = 92;
const ROW: u64 = 18;

/// Rooms with their colours, in the order of the legend.
const COLOURS: &[(&str, &str)] = &[
    ("kernel", "#8d8d8d"),
    ("init", "#c0504d"),
    ("boot", "#e08e3c"),
    ("supervisor", "#6b8e23"),
    ("manifests", "#9bbb59"),
    ("images", "#8064a2"),
    ("sandbox", "#4bacc6"),
    ("container", "#4f81bd"),
    ("runtime", "#2c4d75"),
];
const OTHER: &str = "#b8b8b8";

/// The picture of these parts, which are in order.
pub(super) fn draw(parts: &[Part]) -> String {
    let origin = parts.iter().map(|part| part.begin).min().unwrap_or(0);
    let span = parts.iter().map(|part| part.end).max().unwrap_or(0).saturating_sub(origin).max(1000);
    // Pixels times 10, for one digit after the point.
    let at = |us: u64| {
        let tenths = us.saturating_sub(origin).saturating_mul(WIDTH * 10) / span;
        tenths.saturating_add(MARGIN * 10)
    };
    let rows = u64::try_from(parts.len()).unwrap_or(0);
    let bottom = HEAD.saturating_add(rows.saturating_mul(ROW));
    let (width, height) = (WIDTH + 2 * MARGIN + LABELS, bottom.saturating_add(40));
    let mut svg = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{MARGIN}\" y=\"24\" font-size=\"16\" font-weight=\"bold\">gatepost: start of this node</text>"
    );
    let first = First::of(parts);
    let words = first.as_ref().map_or_else(|| "No container has been started.".to_owned(), First::words);
    let _ = writeln!(svg, "<text x=\"{MARGIN}\" y=\"44\">{}</text>", escaped(&words));
    legend(&mut svg, parts);
    grid(&mut svg, span, bottom);
    if let Some(first) = &first {
        let x = tenths(at(first.at));
        let _ = writeln!(
            svg,
            "<line x1=\"{x}\" y1=\"{}\" x2=\"{x}\" y2=\"{bottom}\" stroke=\"#c00000\" stroke-dasharray=\"4 3\"/><text \
             x=\"{x}\" y=\"{}\" text-anchor=\"middle\" fill=\"#c00000\" font-size=\"10\">the first container's process</text>",
            HEAD - 4,
            bottom.saturating_add(14)
        );
    }
    for (row, part) in (0_u64..).zip(parts) {
        let top = HEAD.saturating_add(row.saturating_mul(ROW));
        let (left, right) = (at(part.begin), at(part.end));
        let length = right.saturating_sub(left).max(10);
        let took = milliseconds(part.end.saturating_sub(part.begin));
        let label = match part.room.as_str() {
            room if room == part.name => format!("{room} ({took})"),
            room => format!("{room}: {} ({took})", part.name),
        };
        // Long parts have room for their label, others have it on their right.
        let words = label.chars().count() as u64 * 70;
        let x = if words < length { left.saturating_add(40) } else { left.saturating_add(length).saturating_add(50) };
        let fill = if words < length { "white" } else { "black" };
        let _ = writeln!(
            svg,
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"{}\"/><text x=\"{}\" y=\"{}\" fill=\"{fill}\">{}</text>",
            tenths(left),
            top.saturating_add(2),
            tenths(length),
            ROW - 4,
            colour(&part.room),
            tenths(x),
            top.saturating_add(13),
            escaped(&label)
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn legend(svg: &mut String, parts: &[Part]) {
    let mut x = MARGIN;
    for (room, colour) in COLOURS.iter().filter(|(room, _)| parts.iter().any(|part| part.room == *room)) {
        let text = x.saturating_add(16);
        let _ = write!(
            svg,
            "<rect x=\"{x}\" y=\"55\" width=\"12\" height=\"12\" fill=\"{colour}\"/><text x=\"{text}\" y=\"65\">{room}</text>"
        );
        x = x.saturating_add(34).saturating_add(room.len() as u64 * 7);
    }
    svg.push('\n');
}

/// Lines at round times, at most twelve.
fn grid(svg: &mut String, span: u64, bottom: u64) {
    let steps = (3_u32..12).flat_map(|power| [1, 2, 5].map(|digit| 10_u64.saturating_pow(power).saturating_mul(digit)));
    let step = steps.into_iter().find(|step| span / step <= 12).unwrap_or(span);
    let mut time = 0_u64;
    while time <= span {
        let x = tenths((time.saturating_mul(WIDTH * 10) / span).saturating_add(MARGIN * 10));
        let label = if step >= 1_000_000 { format!("{} s", time / 1_000_000) } else { format!("{} ms", time / 1000) };
        let _ = writeln!(
            svg,
            "<line x1=\"{x}\" y1=\"{}\" x2=\"{x}\" y2=\"{bottom}\" stroke=\"#d8d8d8\"/><text x=\"{x}\" y=\"{}\" \
             text-anchor=\"middle\" fill=\"#606060\" font-size=\"10\">{label}</text>",
            HEAD - 4,
            HEAD - 8
        );
        time = time.saturating_add(step);
    }
}

fn colour(room: &str) -> &'static str {
    COLOURS.iter().find(|(known, _)| *known == room).map_or(OTHER, |(_, colour)| colour)
}

fn tenths(value: u64) -> String {
    format!("{}.{}", value / 10, value % 10)
}

/// As XML takes it: marks by name, and no control characters.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
