//! A terminal as the program that runs on it has it open.
use super::Tty;
use crate::fs::tree::Node;
use crate::fs::{File, Metadata, Poll};
use crate::process::Pid;
use abi::Errno;
use alloc::{sync::Arc, vec::Vec};
use linux_raw_sys::general as linux;
use machine::sync::WaitQueue;

/// An open terminal.
pub struct Terminal {
    tty: Arc<Tty>,
    node: Arc<Node>,
    path: Vec<u8>,
}

impl Terminal {
    /// Opens a terminal by a node. It may become the terminal of the caller's session.
    pub(super) fn open(
        tty: &Arc<Tty>,
        node: &Arc<Node>,
        path: Vec<u8>,
        flags: u32,
    ) -> Result<Arc<dyn File>, Errno> {
        let file = Self::without_session(tty, node, path)?;
        if flags & linux::O_NOCTTY == 0 {
            tty.opened();
        }
        Ok(file)
    }

    /// As [`Terminal::open`], without that.
    pub(super) fn without_session(
        tty: &Arc<Tty>,
        node: &Arc<Node>,
        path: Vec<u8>,
    ) -> Result<Arc<dyn File>, Errno> {
        let mut state = tty.state.lock();
        if state.is_locked || state.is_hung_up {
            return Err(Errno::EIO);
        }
        state.openings += 1;
        state.was_open = true;
        drop(state);
        tty.changed();
        Ok(Arc::new(Self {
            tty: tty.clone(),
            node: node.clone(),
            path,
        }))
    }
}

impl File for Terminal {
    fn read(&self, _offset: u64, buf: &mut [u8], nonblock: bool) -> Result<usize, Errno> {
        if buf.is_empty() {
            return Ok(0);
        }
        self.tty.check_foreground(linux::SIGTTIN)?;
        self.tty.read(buf, nonblock)
    }

    fn write(&self, _offset: u64, buf: &[u8], nonblock: bool) -> Result<usize, Errno> {
        let stops = {
            let state = self.tty.state.lock();
            state.discipline.settings().local(linux::TOSTOP)
        };
        if stops {
            self.tty.check_foreground(linux::SIGTTOU)?;
        }
        self.tty.write(buf, nonblock)
    }

    fn poll(&self) -> Poll {
        let state = self.tty.state.lock();
        if state.is_hung_up {
            return Poll::IN | Poll::OUT | Poll::ERR | Poll::HUP;
        }
        let mut events = Poll::empty();
        if state.discipline.is_readable() {
            events |= Poll::IN;
        }
        if !state.discipline.is_stopped && state.output.len() < super::OUTPUT_LIMIT {
            events |= Poll::OUT;
        }
        events
    }

    fn poll_queue(&self) -> Option<&WaitQueue> {
        Some(&self.tty.queue)
    }

    fn edges(&self) -> [u64; 2] {
        self.tty.edges.counts()
    }

    fn drives_signals(&self) -> bool {
        true
    }

    fn foreground(&self) -> Option<Pid> {
        Some(self.tty.foreground())
    }

    fn metadata(&self) -> Result<Metadata, Errno> {
        self.node.metadata()
    }

    fn ioctl(&self, request: u32, arg: usize) -> Result<usize, Errno> {
        self.tty.control(request, arg)
    }

    fn release(&self) {
        self.tty.state.lock().openings -= 1;
        self.tty.changed();
    }

    fn reopen(&self, flags: u32) -> Result<Arc<dyn File>, Errno> {
        Self::open(&self.tty, &self.node, self.path.clone(), flags)
    }

    fn node(&self) -> Option<&Arc<Node>> {
        Some(&self.node)
    }

    fn link_text(&self) -> Vec<u8> {
        self.path.clone()
    }
}
