//! The line discipline: what becomes of what is typed, and of what is written (termios(3)).
//!
//! It is the same for the console and for pseudo-terminals, and knows of neither, nor of processes: it says which
//! signal a character stands for. Left out: ECHOPRT, delays, parity, IMAXBEL, IUCLC.
use super::settings::Settings;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use linux_raw_sys::general as linux;

/// What fits: the longest line, and what is kept for a program that does not read.
pub(super) const LIMIT: usize = 4095;
const TAB: usize = 8;

/// What a character is besides itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mark {
    None,
    /// The last of a line.
    Line,
    /// No character: a line ends here without one.
    Eof,
}

/// What a received character does besides being kept or edited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Effect {
    None,
    /// The foreground group is sent this signal; what is not read or written yet is forgotten if so.
    Signal(i32, bool),
}

/// The state of a line discipline.
pub(super) struct Discipline {
    settings: Settings,
    input: VecDeque<(u8, Mark)>,
    /// How much of it belongs to lines that are complete.
    complete: usize,
    /// The column in which the next character is written.
    column: usize,
    /// The column in which the line that is edited begins.
    start: usize,
    /// STOP was received, or the program has asked for it.
    pub(super) is_stopped: bool,
    /// The next character is taken as it is.
    is_literal: bool,
}

fn is_control(byte: u8) -> bool {
    byte < 32 || byte == 127
}

fn is_continuation(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

impl Discipline {
    pub(super) const fn new() -> Self {
        Self {
            settings: Settings::INITIAL,
            input: VecDeque::new(),
            complete: 0,
            column: 0,
            start: 0,
            is_stopped: false,
            is_literal: false,
        }
    }

    pub(super) fn settings(&self) -> Settings {
        self.settings
    }

    /// Sets other settings. What was typed so far is a line's beginning, or can be read at once.
    pub(super) fn set(&mut self, settings: Settings) {
        let was_canonical = self.is_canonical();
        self.settings = settings;
        if was_canonical && !self.is_canonical() {
            self.is_literal = false;
        } else if !was_canonical && self.is_canonical() {
            // What there is was typed before there were lines: it is one.
            if let Some(last) = self.input.back_mut() {
                last.1 = Mark::Line;
            }
            self.complete = self.input.len();
        }
        if !self.settings.input(linux::IXON) {
            self.is_stopped = false;
        }
    }

    fn is_canonical(&self) -> bool {
        self.settings.local(linux::ICANON)
    }

    /// Forgets what has not been read.
    pub(super) fn flush(&mut self) {
        self.input.clear();
        self.complete = 0;
        self.is_literal = false;
    }

    /// How many more characters are taken now. A line that is too long takes any number, and loses them.
    pub(super) fn room(&self) -> usize {
        if self.is_canonical() && self.complete == 0 {
            return usize::MAX;
        }
        LIMIT.saturating_sub(self.input.len())
    }

    /// How many characters could be read.
    pub(super) fn available(&self) -> usize {
        if !self.is_canonical() {
            return self.input.len();
        }
        let complete = self.input.iter().take(self.complete);
        complete.filter(|(_, mark)| *mark != Mark::Eof).count()
    }

    /// Whether poll(2) says that there is something to read.
    pub(super) fn is_readable(&self) -> bool {
        if self.is_canonical() {
            return self.complete > 0;
        }
        let least = match self.settings.value(linux::VTIME) {
            0 => usize::from(self.settings.value(linux::VMIN)).max(1),
            _ => 1,
        };
        self.input.len() >= least
    }

    /// How many characters a read waits for that takes up to `len`, and for how many tenths of a second after each;
    /// `None` if it waits for a line.
    pub(super) fn wants(&self, len: usize) -> Option<(usize, u8)> {
        let least = usize::from(self.settings.value(linux::VMIN)).min(len);
        (!self.is_canonical()).then(|| (least, self.settings.value(linux::VTIME)))
    }

    /// Takes what a read gets; `None` if there is no line yet, or nothing.
    pub(super) fn read(&mut self, buf: &mut [u8]) -> Option<usize> {
        let canonical = self.is_canonical();
        if canonical && self.complete == 0 || self.input.is_empty() {
            return None;
        }
        let mut done = 0;
        while let Some(&(byte, mark)) = self.input.front() {
            // The end of a file right behind what fits is no other line.
            if canonical && self.complete == 0 || done == buf.len() && mark != Mark::Eof {
                break;
            }
            self.input.pop_front();
            self.complete = self.complete.saturating_sub(1);
            if mark != Mark::Eof {
                buf[done] = byte;
                done += 1;
            }
            if canonical && mark != Mark::None {
                break;
            }
        }
        Some(done)
    }

    /// Takes a character that was typed; what is to be shown of it goes to `out`.
    pub(super) fn receive(&mut self, byte: u8, out: &mut Vec<u8>) -> Effect {
        let settings = self.settings;
        let extended = settings.local(linux::IEXTEN);
        let mut byte = byte;
        if settings.input(linux::ISTRIP) {
            byte &= 0x7f;
        }
        if self.is_literal {
            self.is_literal = false;
            self.keep(byte, Mark::None, out);
            return Effect::None;
        }
        if settings.input(linux::IXON) {
            if settings.is(linux::VSTART, byte) {
                self.is_stopped = false;
                return Effect::None;
            }
            if settings.is(linux::VSTOP, byte) {
                self.is_stopped = true;
                return Effect::None;
            }
        }
        if settings.local(linux::ISIG)
            && let Some(signal) = self.signal(byte)
        {
            if settings.input(linux::IXON) {
                self.is_stopped = false;
            }
            let flushes = !settings.local(linux::NOFLSH);
            if flushes {
                self.flush();
            }
            if settings.local(linux::ECHO) {
                self.echo(byte, out);
            }
            return Effect::Signal(signal, flushes);
        }
        if self.is_stopped && settings.input(linux::IXON) && settings.input(linux::IXANY) {
            self.is_stopped = false;
        }
        match byte {
            b'\r' if settings.input(linux::IGNCR) => return Effect::None,
            b'\r' if settings.input(linux::ICRNL) => byte = b'\n',
            b'\n' if settings.input(linux::INLCR) => byte = b'\r',
            _ => {}
        }
        if self.is_canonical() {
            let is = |which| settings.is(which, byte);
            if is(linux::VERASE) || is(linux::VKILL) || extended && is(linux::VWERASE) {
                self.erase(byte, out);
                return Effect::None;
            }
            if extended && is(linux::VLNEXT) {
                self.is_literal = true;
                if settings.local(linux::ECHO) && settings.local(linux::ECHOCTL) {
                    self.write(b"^\x08", out);
                }
                return Effect::None;
            }
            if extended && is(linux::VREPRINT) && settings.local(linux::ECHO) {
                self.echo(byte, out);
                self.write(b"\n", out);
                let line: Vec<u8> = self
                    .input
                    .range(self.complete..)
                    .map(|(byte, _)| *byte)
                    .collect();
                line.into_iter().for_each(|byte| self.echo(byte, out));
                return Effect::None;
            }
            if byte == b'\n' {
                if settings.local(linux::ECHO) || settings.local(linux::ECHONL) {
                    self.write(b"\n", out);
                }
                self.end(byte, Mark::Line);
                return Effect::None;
            }
            if is(linux::VEOF) {
                self.end(0, Mark::Eof);
                return Effect::None;
            }
            if is(linux::VEOL) || extended && is(linux::VEOL2) {
                if settings.local(linux::ECHO) {
                    self.echo(byte, out);
                }
                self.end(byte, Mark::Line);
                return Effect::None;
            }
        }
        self.keep(byte, Mark::None, out);
        Effect::None
    }

    /// The signal that a character stands for.
    fn signal(&self, byte: u8) -> Option<i32> {
        let signals = [
            (linux::VINTR, linux::SIGINT),
            (linux::VQUIT, linux::SIGQUIT),
            (linux::VSUSP, linux::SIGTSTP),
        ];
        let found = signals
            .into_iter()
            .find(|(which, _)| self.settings.is(*which, byte));
        found.map(|(_, signal)| signal.cast_signed())
    }

    /// Keeps a character, and shows it if that is wanted. There is always room for the end of a line.
    fn keep(&mut self, byte: u8, mark: Mark, out: &mut Vec<u8>) {
        if self.input.len() >= LIMIT {
            return;
        }
        if self.settings.local(linux::ECHO) {
            if self.input.len() == self.complete {
                self.start = self.column;
            }
            if byte == b'\n' {
                self.write(b"\n", out);
            } else {
                self.echo(byte, out);
            }
        }
        self.input.push_back((byte, mark));
    }

    fn end(&mut self, byte: u8, mark: Mark) {
        self.input.push_back((byte, mark));
        self.complete = self.input.len();
    }

    /// Shows a character: control characters as `^X`, if that is wanted.
    fn echo(&mut self, byte: u8, out: &mut Vec<u8>) {
        if self.settings.local(linux::ECHOCTL) && is_control(byte) && byte != b'\t' {
            self.write(&[b'^', byte ^ 0x40], out);
        } else {
            self.write(&[byte], out);
        }
    }

    /// Takes back a character, a word or the line, whichever `key` is for.
    fn erase(&mut self, key: u8, out: &mut Vec<u8>) {
        let settings = self.settings;
        let echoes = settings.local(linux::ECHO);
        let kills = settings.is(linux::VKILL, key);
        let erases_word = !kills && !settings.is(linux::VERASE, key);
        if self.input.len() == self.complete {
            return;
        }
        let rubs_out = settings.local(linux::ECHOE);
        let rubs_out_line =
            rubs_out && settings.local(linux::ECHOK) && settings.local(linux::ECHOKE);
        if kills && !(echoes && rubs_out_line) {
            self.input.truncate(self.complete);
            if echoes {
                self.echo(key, out);
                if settings.local(linux::ECHOK) {
                    self.write(b"\n", out);
                }
            }
            return;
        }
        let mut in_word = false;
        while self.input.len() > self.complete {
            // A character may have several bytes.
            let mut at = self.input.len() - 1;
            while settings.input(linux::IUTF8)
                && at > self.complete
                && is_continuation(self.input[at].0)
            {
                at -= 1;
            }
            let byte = self.input[at].0;
            if erases_word {
                let is_word = byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80;
                if in_word && !is_word {
                    break;
                }
                in_word |= is_word;
            }
            self.input.truncate(at);
            if echoes {
                if !kills && !erases_word && !rubs_out {
                    self.echo(key, out);
                } else if byte == b'\t' {
                    self.rub_out_tab(out);
                } else if !is_control(byte) {
                    self.write(b"\x08 \x08", out);
                } else if settings.local(linux::ECHOCTL) {
                    self.write(b"\x08 \x08\x08 \x08", out);
                }
            }
            if !kills && !erases_word {
                break;
            }
        }
    }

    /// Goes back to where a tab, which has been taken out of the line, began.
    fn rub_out_tab(&mut self, out: &mut Vec<u8>) {
        let mut column = self.start;
        for &(byte, _) in self.input.range(self.complete..) {
            column += match byte {
                b'\t' => TAB - column % TAB,
                _ if is_control(byte) => 2 * usize::from(self.settings.local(linux::ECHOCTL)),
                _ if self.settings.input(linux::IUTF8) && is_continuation(byte) => 0,
                _ => 1,
            };
        }
        for _ in 0..TAB - column % TAB {
            self.write(b"\x08", out);
        }
    }

    /// Turns what is written into what goes to the terminal.
    pub(super) fn write(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if !self.settings.output(linux::OPOST) {
            out.extend_from_slice(bytes);
            return;
        }
        let settings = self.settings;
        for &byte in bytes {
            match byte {
                b'\n' => {
                    if settings.output(linux::ONLCR) {
                        out.push(b'\r');
                    }
                    if settings.output(linux::ONLCR) || settings.output(linux::ONLRET) {
                        self.column = 0;
                    }
                    out.push(byte);
                }
                b'\r' if settings.output(linux::ONOCR) && self.column == 0 => {}
                b'\r' if settings.output(linux::OCRNL) => out.push(b'\n'),
                b'\r' => {
                    self.column = 0;
                    out.push(byte);
                }
                b'\t' => {
                    let spaces = TAB - self.column % TAB;
                    self.column += spaces;
                    if settings.expands_tabs() {
                        out.extend_from_slice(&b"        "[..spaces]);
                    } else {
                        out.push(byte);
                    }
                }
                8 => {
                    self.column = self.column.saturating_sub(1);
                    out.push(byte);
                }
                _ => {
                    let continues = settings.input(linux::IUTF8) && is_continuation(byte);
                    self.column += usize::from(!is_control(byte) && !continues);
                    let upper = settings.output(linux::OLCUC);
                    out.push(if upper {
                        byte.to_ascii_uppercase()
                    } else {
                        byte
                    });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    fn typed(discipline: &mut Discipline, text: &[u8]) -> String {
        let mut out = Vec::new();
        for &byte in text {
            discipline.receive(byte, &mut out);
        }
        String::from_utf8_lossy(&out).into_owned()
    }

    fn read(discipline: &mut Discipline, len: usize) -> Option<String> {
        let mut buf = alloc::vec![0; len];
        let len = discipline.read(&mut buf)?;
        Some(String::from_utf8_lossy(&buf[..len]).into_owned())
    }

    #[test]
    fn lines_are_edited() {
        let mut tty = Discipline::new();
        assert_eq!(typed(&mut tty, b"ab\x7fc"), "ab\x08 \x08c");
        assert_eq!(read(&mut tty, 9), None);
        assert_eq!(typed(&mut tty, b"\r"), "\r\n");
        assert_eq!(read(&mut tty, 9).unwrap(), "ac\n");
        typed(&mut tty, b"one two\x17x\n");
        assert_eq!(read(&mut tty, 9).unwrap(), "one x\n");
        typed(&mut tty, b"gone\x15kept\n");
        assert_eq!(read(&mut tty, 2).unwrap(), "ke");
        assert_eq!(read(&mut tty, 9).unwrap(), "pt\n");
        assert_eq!(typed(&mut tty, b"\x16\x03\n"), "^\x08^C\r\n");
        assert_eq!(read(&mut tty, 9).unwrap(), "\x03\n");
        assert_eq!(
            typed(&mut tty, b"a\t\x7f"),
            "a\t\x08\x08\x08\x08\x08\x08\x08"
        );
    }

    #[test]
    fn an_end_of_file_ends_a_read() {
        let mut tty = Discipline::new();
        typed(&mut tty, b"ab\x04\x04");
        assert_eq!(read(&mut tty, 2).unwrap(), "ab");
        assert_eq!(read(&mut tty, 2).unwrap(), "");
        assert_eq!(read(&mut tty, 2), None);
    }

    #[test]
    fn characters_are_signals() {
        let mut tty = Discipline::new();
        let mut out = Vec::new();
        typed(&mut tty, b"lost");
        assert_eq!(tty.receive(3, &mut out), Effect::Signal(2, true));
        assert_eq!((&out[..], tty.input.len()), (&b"^C"[..], 0));
        assert_eq!(tty.receive(26, &mut out), Effect::Signal(20, true));
    }

    #[test]
    fn without_lines_characters_are_read_as_they_come() {
        let mut tty = Discipline::new();
        let mut bytes = tty.settings().to_bytes();
        bytes[12..16].fill(0);
        tty.set(tty.settings().with(&bytes));
        assert_eq!(typed(&mut tty, b"a\x03\x7f"), "");
        assert_eq!(tty.wants(100), Some((1, 0)));
        assert_eq!(read(&mut tty, 9).unwrap(), "a\x03\x7f");
    }

    #[test]
    fn lines_have_a_limit() {
        let mut tty = Discipline::new();
        typed(&mut tty, &[b'x'; 2 * LIMIT]);
        typed(&mut tty, b"\n");
        assert_eq!(read(&mut tty, 2 * LIMIT).unwrap().len(), LIMIT + 1);
    }

    #[test]
    fn output_is_processed() {
        let mut tty = Discipline::new();
        let mut out = Vec::new();
        tty.write(b"a\nb\tc", &mut out);
        assert_eq!(out, b"a\r\nb\tc");
        assert_eq!(tty.column, 9);
    }
}
