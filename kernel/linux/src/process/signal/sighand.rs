//! Dispositions: what a process wants done with each signal.
use super::{Action, LAST};
use machine::sync::SpinLock;

/// An action for each signal. Its lock is the outermost of those on signals: what is done about a signal is what was
/// decided under it.
#[doc(alias = "sighand_struct")]
#[derive(Default)]
pub struct Sighand(pub(super) SpinLock<Actions>);

/// The actions, under the lock.
pub(super) struct Actions([Action; LAST as usize]);

impl Default for Actions {
    fn default() -> Self {
        Self([Action::DEFAULT; LAST as usize])
    }
}

impl Actions {
    /// The action for `signal`, 1 to 64.
    pub(super) fn of(&mut self, signal: i32) -> &mut Action {
        &mut self.0[(signal - 1) as usize]
    }
}
