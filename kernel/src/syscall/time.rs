//! System calls of the `time` group: argument checking and conversion only; the work is done elsewhere.
