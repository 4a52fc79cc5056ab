//! The picture: phases and mapped objects one below the other along the time, below them how many system calls and page
//! faults there were when, and which system calls took the time.

use std::collections::HashMap;
use std::fmt::Write;
use std::time::Instant;

use super::Times;
use super::record::{Kind, Record};

const WIDTH: f64 = 1240.0;
/// Where time begins and ends.
const LEFT: f64 = 190.0;
const RIGHT: f64 = 1150.0;
const ROW: f64 = 22.0;
const OBJECT_ROW: f64 = 15.0;
const LANE: f64 = 56.0;
/// Width of a bar in a lane.
const BIN: f64 = 3.0;
/// Objects that get a row.
const MOST_OBJECTS: usize = 64;
/// System calls that get a line.
const MOST_CALLS: usize = 12;

/// Colours of phases, in the order of the machine's life; the last one is what others have.
const COLOURS: [(&str, &str); 10] = [
    ("elfin", "#8d99a6"),
    ("QEMU", "#b0a18f"),
    ("firmware", "#c9a227"),
    ("kernel", "#3d7ea6"),
    ("devices", "#4f93b8"),
    ("network, file systems", "#68a6c4"),
    ("loading", "#5b8c5a"),
    ("INIT functions", "#8f6bb3"),
    ("program", "#d1603d"),
    ("", "#9aa5b1"),
];

/// A stretch of time with a name, in seconds since elfin's start.
struct Phase {
    name: String,
    start: f64,
    end: f64,
}

/// How often a system call was made, and how long it took.
#[derive(Clone, Copy, Default)]
struct Sum {
    count: u32,
    seconds: f64,
}

/// Everything that is drawn. Times are in seconds since elfin's start.
pub(super) struct Chart {
    title: String,
    end: f64,
    lost: u64,
    phases: Vec<Phase>,
    objects: Vec<(f64, String)>,
    calls: Vec<f64>,
    faults: Vec<f64>,
    by_call: Vec<(String, Sum)>,
    in_faults: Sum,
}

impl Chart {
    /// Lays out what has happened. `reset`: when the guest's clock was 0.
    pub(super) fn new(title: &str, times: Times, reset: Instant, record: &Record) -> Self {
        let seconds = |at: Instant| at.saturating_duration_since(times.start).as_secs_f64();
        let reset = seconds(reset);
        let guest = |ns: u64| reset + ns as f64 / 1e9;
        let mut starts: Vec<(String, f64)> = vec![
            ("elfin".into(), 0.0),
            ("QEMU".into(), seconds(times.qemu)),
            ("firmware".into(), reset),
        ];
        for event in record.of(Kind::Phase) {
            // Later processes are loaded, too: what counts is the first.
            if starts.iter().all(|(name, _)| *name != event.text) {
                starts.push((event.text.clone(), guest(event.start)));
            }
        }
        starts.push(("record sent".into(), guest(record.now)));
        starts.push(("QEMU's end".into(), seconds(times.sent)));
        let end = seconds(times.end);
        let ends = starts.iter().skip(1).map(|&(_, start)| start).chain([end]);
        let phases = starts.iter().zip(ends).map(|((name, start), end)| Phase {
            name: name.clone(),
            start: *start,
            end: end.max(*start),
        });
        let mut by_call: HashMap<&str, Sum> = HashMap::new();
        for event in record.of(Kind::Call) {
            by_call
                .entry(&event.text)
                .or_default()
                .add(event.start, event.end);
        }
        let mut by_call: Vec<_> = by_call
            .into_iter()
            .map(|(name, sum)| (name.to_owned(), sum))
            .collect();
        by_call.sort_by(|a, b| b.1.seconds.total_cmp(&a.1.seconds).then(a.0.cmp(&b.0)));
        let mut in_faults = Sum::default();
        for event in record.of(Kind::Fault) {
            in_faults.add(event.start, event.end);
        }
        let ends = |kind| record.of(kind).map(|event| guest(event.end)).collect();
        Self {
            title: title.to_owned(),
            end,
            lost: record.lost,
            phases: phases.collect(),
            objects: record
                .of(Kind::Object)
                .map(|event| (guest(event.end), event.text.clone()))
                .collect(),
            calls: ends(Kind::Call),
            faults: ends(Kind::Fault),
            by_call,
            in_faults,
        }
    }

    fn x(&self, at: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * at / self.end.max(1e-9)
    }

    /// Draws it.
    pub(super) fn svg(&self) -> String {
        let mut canvas = Canvas::default();
        canvas.text(20.0, 30.0, "title", "start", &shortened(&self.title, 110));
        let count = |count: usize, what: &str| format!("{count} {what}");
        let mut facts = vec![
            format!("{} in all", milliseconds(self.end)),
            count(self.objects.len(), "objects"),
            count(self.calls.len(), "system calls"),
            count(self.faults.len(), "page faults"),
        ];
        if self.lost != 0 {
            facts.push(format!("{} later events left out", self.lost));
        }
        canvas.text(20.0, 50.0, "note", "start", &facts.join(" · "));
        let top = 84.0;
        let shown = self.objects.len().min(MOST_OBJECTS);
        let more = usize::from(shown < self.objects.len());
        let objects_at = top + self.phases.len() as f64 * ROW + 18.0;
        let calls_at = objects_at + (shown + more) as f64 * OBJECT_ROW + 22.0;
        let faults_at = calls_at + LANE + 16.0;
        let table_at = faults_at + LANE + 44.0;
        self.axis(&mut canvas, top, faults_at + LANE);
        for (number, phase) in self.phases.iter().enumerate() {
            self.phase(&mut canvas, phase, top + number as f64 * ROW);
        }
        self.objects(&mut canvas, objects_at, shown);
        self.lane(
            &mut canvas,
            calls_at,
            "system calls",
            &self.calls,
            "#3d7ea6",
        );
        self.lane(
            &mut canvas,
            faults_at,
            "page faults",
            &self.faults,
            "#d1603d",
        );
        let height = self.table(&mut canvas, table_at) + 24.0;
        canvas.finish(height)
    }

    /// Draws lines for the time, and one where each phase of the guest's begins.
    fn axis(&self, canvas: &mut Canvas, top: f64, bottom: f64) {
        let step = step(self.end);
        let mut at = 0.0;
        while at <= self.end {
            let x = self.x(at);
            canvas.line(x, top - 6.0, x, bottom, "grid");
            canvas.text(x, top - 12.0, "note", "middle", &axis_label(at, step));
            at += step;
        }
        let entry = self.phases.iter().find(|phase| phase.name == "program");
        if let Some(entry) = entry {
            let x = self.x(entry.start);
            canvas.line(x, top, x, bottom, "entry");
            let text = "the program's first instruction";
            canvas.text(x, bottom + 16.0, "note", "start", text);
        }
    }

    fn phase(&self, canvas: &mut Canvas, phase: &Phase, y: f64) {
        let (start, end) = (self.x(phase.start), self.x(phase.end));
        let width = (end - start).max(1.0);
        canvas.text(LEFT - 12.0, y + 15.0, "label", "end", &phase.name);
        canvas.bar(start, y + 3.0, width, ROW - 6.0, colour(&phase.name));
        let lasted = milliseconds(phase.end - phase.start);
        if end + 70.0 < WIDTH {
            canvas.text(start + width + 6.0, y + 15.0, "note", "start", &lasted);
        } else {
            canvas.text(end - 6.0, y + 15.0, "inside", "end", &lasted);
        }
    }

    fn objects(&self, canvas: &mut Canvas, top: f64, shown: usize) {
        canvas.text(LEFT - 12.0, top + 11.0, "label", "end", "objects mapped");
        for (number, (at, path)) in self.objects.iter().take(shown).enumerate() {
            let (x, y) = (self.x(*at), top + number as f64 * OBJECT_ROW);
            canvas.bar(x, y + 2.0, 3.0, OBJECT_ROW - 4.0, colour("loading"));
            let name = path.rsplit('/').next().unwrap_or(path);
            // Beside the mark, where there is room.
            if x > (LEFT + RIGHT) / 2.0 {
                canvas.text(x - 6.0, y + 11.0, "object", "end", name);
            } else {
                canvas.text(x + 9.0, y + 11.0, "object", "start", name);
            }
        }
        if shown < self.objects.len() {
            let y = top + shown as f64 * OBJECT_ROW + 11.0;
            let more = format!("and {} more", self.objects.len() - shown);
            canvas.text(LEFT - 12.0, y, "note", "end", &more);
        }
    }

    /// Draws how often something happened when.
    fn lane(&self, canvas: &mut Canvas, top: f64, name: &str, times: &[f64], colour: &str) {
        let bottom = top + LANE;
        canvas.text(LEFT - 12.0, top + 24.0, "label", "end", name);
        let mut bins: HashMap<u32, u32> = HashMap::new();
        for &at in times {
            *bins
                .entry(((self.x(at) - LEFT) / BIN).max(0.0) as u32)
                .or_default() += 1;
        }
        let most = bins.values().copied().max().unwrap_or(0);
        let each = milliseconds(self.end * BIN / (RIGHT - LEFT));
        let scale = format!("at most {most} in {each}");
        canvas.text(LEFT - 12.0, top + 40.0, "note", "end", &scale);
        for (bin, count) in bins {
            // The root of the share: a few must be seen beside many.
            let height = (LANE - 4.0) * (f64::from(count) / f64::from(most.max(1))).sqrt();
            let x = LEFT + f64::from(bin) * BIN;
            canvas.bar(x, bottom - height, BIN - 0.5, height, colour);
        }
        canvas.line(LEFT, bottom, RIGHT, bottom, "base");
    }

    /// Draws what took the time; returns where that ends.
    fn table(&self, canvas: &mut Canvas, top: f64) -> f64 {
        canvas.text(LEFT - 12.0, top, "label", "end", "system calls by time");
        canvas.text(LEFT + 110.0, top, "note", "end", "count");
        canvas.text(LEFT + 230.0, top, "note", "end", "ms, with waiting");
        let longest = self.by_call.first().map_or(0.0, |(_, sum)| sum.seconds);
        let faults = ("page faults".to_owned(), self.in_faults);
        let calls = self.by_call.iter().take(MOST_CALLS);
        let mut y = top + 6.0;
        for (number, (name, sum)) in calls.chain([&faults]).enumerate() {
            let is_fault = number == self.by_call.len().min(MOST_CALLS);
            y += if is_fault { 24.0 } else { 18.0 };
            canvas.text(LEFT - 12.0, y, "object", "end", name);
            canvas.text(LEFT + 110.0, y, "object", "end", &sum.count.to_string());
            let ms = format!("{:.2}", sum.seconds * 1e3);
            canvas.text(LEFT + 230.0, y, "object", "end", &ms);
            let width = 600.0 * sum.seconds / longest.max(self.in_faults.seconds).max(1e-9);
            let colour = if is_fault { "#d1603d" } else { "#3d7ea6" };
            canvas.bar(LEFT + 245.0, y - 10.0, width.max(1.0), 11.0, colour);
        }
        y
    }
}

impl Sum {
    fn add(&mut self, start: u64, end: u64) {
        self.count += 1;
        self.seconds += (end - start) as f64 / 1e9;
    }
}

fn colour(phase: &str) -> &'static str {
    let found = COLOURS.iter().find(|(name, _)| *name == phase);
    found
        .or(COLOURS.last())
        .map_or("#9aa5b1", |(_, colour)| colour)
}

/// How far apart lines are: ten or so of them, at round times.
fn step(end: f64) -> f64 {
    let rough = (end / 10.0).max(1e-6);
    let power = 10f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    steps
        .into_iter()
        .find(|&step| step >= rough)
        .unwrap_or(rough)
}

fn axis_label(at: f64, step: f64) -> String {
    if step >= 1.0 {
        format!("{at:.0} s")
    } else {
        format!("{:.0} ms", at * 1e3)
    }
}

fn milliseconds(seconds: f64) -> String {
    let ms = seconds * 1e3;
    match ms {
        _ if ms >= 100.0 => format!("{ms:.0} ms"),
        _ if ms >= 1.0 => format!("{ms:.1} ms"),
        _ => format!("{ms:.2} ms"),
    }
}

fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

/// SVG under construction.
#[derive(Default)]
struct Canvas {
    body: String,
}

impl Canvas {
    fn line(&mut self, x1: f64, y1: f64, x2: f64, y2: f64, class: &str) {
        let _ = writeln!(
            self.body,
            r#"<line class="{class}" x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}"/>"#
        );
    }

    fn bar(&mut self, x: f64, y: f64, width: f64, height: f64, colour: &str) {
        let _ = writeln!(
            self.body,
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" fill="{colour}"/>"#
        );
    }

    fn text(&mut self, x: f64, y: f64, class: &str, anchor: &str, text: &str) {
        let text = escaped(text);
        let _ = writeln!(
            self.body,
            r#"<text class="{class}" x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{text}</text>"#
        );
    }

    fn finish(self, height: f64) -> String {
        let body = self.body;
        format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH:.0}" height="{height:.0}"
 viewBox="0 0 {WIDTH:.0} {height:.0}">
<style>
text {{ font: 12px "DejaVu Sans", Helvetica, Arial, sans-serif; fill: #26323d; }}
.title {{ font-size: 17px; font-weight: bold; }}
.label {{ font-weight: bold; }}
.note {{ font-size: 11px; fill: #5d6b78; }}
.note, .object {{ paint-order: stroke; stroke: #ffffff; stroke-width: 3px; }}
.object {{ font-size: 11px; }}
.inside {{ font-size: 11px; fill: #ffffff; }}
.grid {{ stroke: #dde3e8; }}
.base {{ stroke: #9aa5b1; }}
.entry {{ stroke: #d1603d; stroke-dasharray: 3 3; }}
</style>
<rect width="100%" height="100%" fill="#ffffff"/>
{body}</svg>
"##
        )
    }
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            _ if letter.is_control() => escaped.push('\u{fffd}'),
            _ => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn everything_is_in_the_picture() {
        let record = Record::parse(
            b"now 90000000 lost 3\n5000000 5000000 0 phase kernel\n9000000 9000000 0 phase loading\n\
              10000000 10000000 0 object /lib/libx.so\n20000000 20000000 1 phase program\n\
              30000000 40000000 1 call read\n41000000 41500000 1 fault \n80000000 80000000 1 phase loading\n",
        );
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        let times = Times {
            start,
            qemu: after(3),
            sent: after(108),
            end: after(110),
        };
        let chart = Chart::new("a <b> & c", times, after(15), &record.unwrap());
        let phases: Vec<_> = chart.phases.iter().map(|phase| &phase.name[..]).collect();
        let expected = [
            "elfin",
            "QEMU",
            "firmware",
            "kernel",
            "loading",
            "program",
            "record sent",
            "QEMU's end",
        ];
        assert_eq!(phases, expected);
        // One after the other, from the beginning to the end.
        assert!(
            chart
                .phases
                .windows(2)
                .all(|pair| pair[0].end == pair[1].start)
        );
        let svg = chart.svg();
        for text in [
            "a &lt;b&gt; &amp; c",
            "110 ms in all · 1 objects · 1 system calls · 1 page faults · 3 later events left out",
            ">libx.so<",
            ">10.00<",
            ">0.50<",
        ] {
            assert!(svg.contains(text), "{text}: {svg}");
        }
    }

    #[test]
    fn lines_are_at_round_times() {
        assert_eq!(
            [0.11, 0.9, 2.0, 37.0]
                .map(step)
                .map(|step| (step * 1e3).round()),
            [20.0, 100.0, 200.0, 5000.0]
        );
    }
}
