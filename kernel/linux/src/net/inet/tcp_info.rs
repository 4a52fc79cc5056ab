//! `struct tcp_info`, as Linux 6.1 has it. What is not known is 0; connections within the machine know their state.
use super::connection::{Info, State};
use alloc::vec::Vec;

const SIZE: usize = 232;
/// `TCPI_OPT_SACK`, `TCPI_OPT_WSCALE`
const OPTIONS: [u8; 2] = [2, 4];
/// A path's MTU, and how many segments may come before one that is not lost (`tcp_reordering`).
const MTU: u32 = 1500;
const REORDERING: u32 = 3;
/// Of a connection within the machine: what Linux says of one.
const LOOPBACK: Info = Info {
    timeouts: [0; 2],
    scales: Some([7; 2]),
    sack: true,
    rto: 200_000_000,
    rtt: [100_000, 50_000, 50_000],
    mss: [32_768, 65_483],
    flight: [0; 4],
    congestion: [10 * 32_768, u32::MAX],
    space: 65_483,
    unsent: 0,
    segments: [0; 3],
    bytes: [0; 2],
    ago: [0; 3],
};

/// What a segment of a connection carries (`TCP_MAXSEG`).
pub fn segment_size(info: Option<Info>) -> u32 {
    info.unwrap_or(LOOPBACK).mss[0]
}

/// The structure's bytes.
pub fn encode(state: State, info: Option<Info>) -> Vec<u8> {
    let info = info.unwrap_or(LOOPBACK);
    let mut bytes = alloc::vec![0; SIZE];
    bytes[0] = state.into();
    bytes[2] = info.timeouts[0];
    bytes[3] = info.timeouts[1];
    bytes[4] = info.timeouts[0];
    if info.sack {
        bytes[5] |= OPTIONS[0];
    }
    if let Some([peer, own]) = info.scales {
        bytes[5] |= OPTIONS[1];
        bytes[6] = peer | own << 4;
    }
    let us = |ns: u64| u32::try_from(ns / 1000).unwrap_or(u32::MAX);
    let ms = |ns: u64| us(ns / 1000);
    let segments = |bytes: u32| bytes / info.mss[0].max(1);
    let [flight, sacked, lost, again] = info.flight;
    let [window, threshold] = info.congestion;
    let threshold = if threshold == u32::MAX {
        i32::MAX.cast_unsigned()
    } else {
        segments(threshold)
    };
    let words = [
        (8, us(info.rto)),
        (16, info.mss[0]),
        (20, info.mss[1]),
        (24, flight),
        (28, sacked),
        (32, lost),
        (36, again),
        (44, ms(info.ago[0])),
        (52, ms(info.ago[1])),
        (56, ms(info.ago[2])),
        (60, MTU),
        (64, info.space),
        (68, us(info.rtt[0])),
        (72, us(info.rtt[1])),
        (76, threshold),
        (80, segments(window)),
        (84, info.mss[1]),
        (88, REORDERING),
        (96, info.space),
        (100, info.segments[2]),
        (136, info.segments[0]),
        (140, info.segments[1]),
        (144, info.unsent),
        (148, us(info.rtt[2])),
    ];
    for (at, word) in words {
        bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
    }
    for (at, count) in [(120, info.bytes[0]), (128, info.bytes[1])] {
        bytes[at..at + 8].copy_from_slice(&count.to_le_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_where_they_are() {
        let bytes = encode(State::Established, None);
        assert_eq!((bytes[0], bytes[5], bytes.len()), (1, 6, SIZE));
        assert_eq!(bytes[68..72], 100_u32.to_le_bytes(), "tcpi_rtt");
        assert_eq!(bytes[80..84], 10_u32.to_le_bytes(), "tcpi_snd_cwnd");
        let info = Info {
            bytes: [1 << 40, 2],
            ..LOOPBACK
        };
        let bytes = encode(State::Close, Some(info));
        assert_eq!(
            bytes[120..128],
            (1_u64 << 40).to_le_bytes(),
            "tcpi_bytes_acked"
        );
    }
}
