//! System calls of the `process` group: argument checking and conversion only; the work is done elsewhere.
