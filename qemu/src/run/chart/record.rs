//! The record that the kernel sends: a line `now NS lost N`, then a line an event, `START END THREAD KIND TEXT`, with
//! times in nanoseconds since the machine's reset.

/// What kind of event it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A part of the machine's life begins.
    Phase,
    /// An object has been mapped.
    Object,
    /// A system call.
    Call,
    /// A page fault.
    Fault,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) kind: Kind,
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) text: String,
}

/// What has happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// When it was sent.
    pub(super) now: u64,
    /// How many events there was no room for.
    pub(super) lost: u64,
    /// In the order in which they ended.
    pub(super) events: Vec<Event>,
}

impl Record {
    /// Reads a record. What is no event is left out: the machine may end in the middle of one.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes);
        let mut lines = text.lines();
        let head = lines.next()?.strip_prefix("now ")?;
        let (now, lost) = head.split_once(" lost ")?;
        Some(Self {
            now: now.parse().ok()?,
            lost: lost.parse().ok()?,
            events: lines.filter_map(event).collect(),
        })
    }

    /// Returns the events of a kind.
    pub(super) fn of(&self, kind: Kind) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(move |event| event.kind == kind)
    }
}

fn event(line: &str) -> Option<Event> {
    let mut words = line.splitn(5, ' ');
    let start = words.next()?.parse().ok()?;
    let end: u64 = words.next()?.parse().ok()?;
    let _thread: i64 = words.next()?.parse().ok()?;
    let kind = match words.next()? {
        "phase" => Kind::Phase,
        "object" => Kind::Object,
        "call" => Kind::Call,
        "fault" => Kind::Fault,
        _ => return None,
    };
    Some(Event {
        kind,
        start,
        end: end.max(start),
        text: words.next()?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_far_as_they_go() {
        let record = Record::parse(
            b"now 900 lost 2\n100 100 0 phase kernel\n200 250 7 call read\n3 4 5 nap x\n\
              300 290 7 fault \n400 400 7 object /lib/a b.so\n500 5",
        );
        let record = record.expect("it begins as it should");
        assert_eq!((record.now, record.lost), (900, 2));
        let all = record.events.iter();
        let all: Vec<_> = all
            .map(|event| (event.kind, event.start, event.end, &event.text[..]))
            .collect();
        assert_eq!(
            all,
            [
                (Kind::Phase, 100, 100, "kernel"),
                (Kind::Call, 200, 250, "read"),
                (Kind::Fault, 300, 300, ""),
                (Kind::Object, 400, 400, "/lib/a b.so"),
            ]
        );
        for nothing in ["", "now", "now x lost 0", "1 2 3 phase x"] {
            assert_eq!(Record::parse(nothing.as_bytes()), None);
        }
    }
}
