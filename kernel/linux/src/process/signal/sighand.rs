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

impl Sighand {
    /// The same for another process.
    pub(in crate::process) fn copy(&self) -> Self {
        Self(SpinLock::new(Actions(self.0.lock().0)))
    }

    /// Forgets all handlers: another program begins. What is ignored stays so.
    pub(in crate::process) fn reset(&self) {
        for action in &mut self.0.lock().0 {
            let ignored = action.handler == Action::IGNORE;
            *action = Action {
                handler: if ignored { Action::IGNORE } else { 0 },
                ..Action::DEFAULT
            };
        }
    }
}

impl Actions {
    /// The action for `signal`, 1 to 64.
    pub(super) fn of(&mut self, signal: i32) -> &mut Action {
        &mut self.0[(signal - 1) as usize]
    }
}
