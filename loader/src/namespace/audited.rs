//! What auditors ([`crate::audit`]) are told of a namespace.

/// What auditors are told of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audited {
    /// Everything.
    Wholly,
    /// Its objects, not what their references are bound to: it is that of an object which may turn out an auditor.
    Objects,
    /// Nothing: it is an auditor's.
    Not,
}
