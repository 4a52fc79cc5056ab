//! System calls of the `mm` group: argument checking and conversion only; the work is done elsewhere.
