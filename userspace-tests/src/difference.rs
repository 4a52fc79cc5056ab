//! Where two outputs part, for people to read.

/// Most lines shown of either side.
const LINES: usize = 24;
/// Most characters shown of a line.
const COLUMNS: usize = 160;
/// Equal lines shown before the difference.
const CONTEXT: usize = 3;

/// Shows what differs, with `-` before lines that only `left` has and `+` before those that only `right` has; `None`
/// if nothing does.
#[must_use]
pub fn show(left: &[u8], right: &[u8]) -> Option<String> {
    if left == right {
        return None;
    }
    let left: Vec<_> = left.split_inclusive(|b| *b == b'\n').collect();
    let right: Vec<_> = right.split_inclusive(|b| *b == b'\n').collect();
    let same = left.iter().zip(&right).take_while(|(a, b)| a == b).count();
    let rest = (left.len() - same).min(right.len() - same);
    let tail = left
        .iter()
        .rev()
        .zip(right.iter().rev())
        .take(rest)
        .take_while(|(a, b)| a == b)
        .count();
    let from = same.saturating_sub(CONTEXT);
    let mut text = format!("@@ line {} @@\n", same + 1);
    add(&mut text, ' ', &left[from..same]);
    add(&mut text, '-', &left[same..left.len() - tail]);
    add(&mut text, '+', &right[same..right.len() - tail]);
    add(
        &mut text,
        ' ',
        &left[left.len() - tail..][..tail.min(CONTEXT)],
    );
    Some(text)
}

/// The last lines of an output.
#[must_use]
pub fn end_of(bytes: &[u8]) -> String {
    let lines: Vec<_> = bytes.split_inclusive(|b| *b == b'\n').collect();
    let mut text = String::new();
    let from = lines.len().saturating_sub(LINES * 2);
    if from > 0 {
        text.push_str(&format!("({from} lines before)\n"));
    }
    for line in &lines[from..] {
        text.push_str(&printable(line));
        text.push('\n');
    }
    text
}

fn add(text: &mut String, mark: char, lines: &[&[u8]]) {
    for line in lines.iter().take(LINES) {
        text.push(mark);
        text.push_str(&printable(line));
        if !line.ends_with(b"\n") {
            text.push_str(" (no newline)");
        }
        text.push('\n');
    }
    if lines.len() > LINES {
        text.push_str(&format!("{mark}({} more lines)\n", lines.len() - LINES));
    }
}

fn printable(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let text = String::from_utf8_lossy(line);
    let mut shown: String = text
        .chars()
        .take(COLUMNS)
        .flat_map(|c| {
            let quoted = c.is_control() && c != '\t';
            let plain = (!quoted).then_some(c);
            plain
                .into_iter()
                .chain(quoted.then(|| c.escape_default()).into_iter().flatten())
        })
        .collect();
    if text.chars().nth(COLUMNS).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences() {
        assert_eq!(show(b"a\nb\n", b"a\nb\n"), None);
        assert_eq!(
            show(b"a\nb\nc\n", b"a\nx\ny\nc\n").unwrap(),
            "@@ line 2 @@\n a\n-b\n+x\n+y\n c\n"
        );
        assert_eq!(
            show(b"a\n", b"a\nb").unwrap(),
            "@@ line 2 @@\n a\n+b (no newline)\n"
        );
        let many = b"z\n".repeat(100);
        assert!(show(&many, b"").unwrap().contains("(76 more lines)"));
    }
}
