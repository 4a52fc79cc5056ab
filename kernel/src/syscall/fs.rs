//! System calls of the `fs` group: argument checking and conversion only; the work is done elsewhere.
