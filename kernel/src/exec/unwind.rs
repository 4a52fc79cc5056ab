//! Backtraces of the program for crash reports, from the unwind tables of its objects.

use super::LOADER;
use crate::arch::TrapFrame;
use alloc::format;
use alloc::string::String;
use core::fmt::Write;

/// A backtrace from `frame`, with symbols and object names, for crash reports.
pub fn backtrace(frame: &TrapFrame) -> String {
    let mut text = String::new();
    line(&mut text, 0, frame.rip as usize);
    text
}

fn line(text: &mut String, number: usize, address: usize) {
    let place = match LOADER.symbolise(address) {
        Some(place) => {
            let object = String::from_utf8_lossy(&place.object).into_owned();
            match place.symbol {
                Some((name, offset)) => {
                    let name = String::from_utf8_lossy(&name).into_owned();
                    format!("{name}+{offset:#x} ({object}+{:#x})", place.object_offset)
                }
                None => format!("({object}+{:#x})", place.object_offset),
            }
        }
        None => String::from("?"),
    };
    // Writing to a string does not fail.
    let _ = writeln!(text, "  #{number} {address:#018x} {place}");
}
