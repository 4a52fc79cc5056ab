//! System calls of the `signal` group: argument checking and conversion only; the work is done elsewhere.
