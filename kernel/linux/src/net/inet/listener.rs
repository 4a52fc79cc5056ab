//! A listening socket's connections that were not accepted yet.
use crate::net::{
    sock::{Sock, Waiting},
    socket::Socket,
};
use alloc::{collections::VecDeque, sync::Arc};
use machine::sync::SpinLock;

/// See the module.
pub struct Listener {
    /// The listening socket.
    pub sock: Arc<Sock>,
    state: SpinLock<State>,
}

struct State {
    ready: VecDeque<Arc<Socket>>,
    most: usize,
    /// Who connects and finds no room.
    waiting: Waiting,
    closed: bool,
}

/// `net.core.somaxconn`
pub const SOMAXCONN: usize = 4096;

/// Why a connection is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// There is no room now; who connects is woken when there is.
    Full,
    /// Nobody listens any more.
    Closed,
}

impl Listener {
    /// One that takes `backlog` connections.
    pub fn new(sock: Arc<Sock>, backlog: usize) -> Arc<Self> {
        Arc::new(Self {
            sock,
            state: SpinLock::new(State {
                ready: VecDeque::new(),
                most: backlog.min(SOMAXCONN),
                waiting: Waiting::new(),
                closed: false,
            }),
        })
    }

    /// listen(2) once more.
    pub fn set_backlog(&self, backlog: usize) {
        let mut state = self.state.lock();
        state.most = backlog.min(SOMAXCONN);
        let waiting = state.waiting.take();
        drop(state);
        waiting.wake();
    }

    /// Whether there is room for a connection; `who` waits for it if not.
    pub fn room(&self, who: &Arc<Sock>) -> Result<(), Refusal> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(Refusal::Closed);
        }
        // As in Linux there is one more than was asked for.
        if state.ready.len() > state.most {
            state.waiting.add(who);
            return Err(Refusal::Full);
        }
        Ok(())
    }

    /// Whether there is room for no more connections.
    pub fn is_full(&self) -> bool {
        let state = self.state.lock();
        state.ready.len() > state.most
    }

    /// A connection is there.
    pub fn push(&self, socket: Arc<Socket>) -> Result<(), Arc<Socket>> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(socket);
        }
        state.ready.push_back(socket);
        drop(state);
        self.sock.readable();
        Ok(())
    }

    /// Takes the connection that has waited longest.
    pub fn pop(&self) -> Option<Arc<Socket>> {
        let mut state = self.state.lock();
        let socket = state.ready.pop_front()?;
        let waiting = state.waiting.take();
        drop(state);
        waiting.wake();
        Some(socket)
    }

    /// Connections that wait, and the most.
    pub fn counts(&self) -> [usize; 2] {
        let state = self.state.lock();
        [state.ready.len(), state.most]
    }

    /// Nobody listens any more; connections that were not accepted, to be reset.
    pub fn close(&self) -> VecDeque<Arc<Socket>> {
        let mut state = self.state.lock();
        state.closed = true;
        let ready = core::mem::take(&mut state.ready);
        let waiting = state.waiting.take();
        drop(state);
        waiting.wake();
        ready
    }
}
