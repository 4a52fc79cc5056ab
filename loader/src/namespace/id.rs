//! The numbers of namespaces.

/// The number of a namespace: `Lmid_t`. Numbers are not used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NamespaceId(usize);

/// The namespace of the program: `LM_ID_BASE`.
pub(crate) const BASE: NamespaceId = NamespaceId(0);

impl NamespaceId {
    /// Returns the namespace an `Lmid_t` names.
    pub(crate) const fn from_lmid(lmid: usize) -> Self {
        Self(lmid)
    }

    /// Returns the `Lmid_t`.
    pub(crate) const fn lmid(self) -> usize {
        self.0
    }

    /// Returns the next number.
    pub(crate) const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}
