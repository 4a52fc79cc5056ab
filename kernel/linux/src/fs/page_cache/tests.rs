//! What is written back, when, and who is told of failures; by files that are in a test's memory.
use super::*;
use crate::fs::{
    DirEntry,
    inode::{Changes, Handle},
    tree::{Kind, Node},
};
use alloc::vec;
use core::sync::atomic::AtomicU64;
use machine::mm::frame;

/// A file somewhere else: what has come there, and how much room is left for what has not.
struct Elsewhere {
    data: SpinLock<Vec<u8>>,
    writes: AtomicUsize,
    room: AtomicU64,
    fails: AtomicBool,
    /// Writes that begin here fail, too.
    failing_page: AtomicU64,
}

impl Elsewhere {
    fn with_room(pages: u64) -> Arc<Self> {
        static MEMORY: spin::Once<()> = spin::Once::new();
        MEMORY.call_once(frame::init_hosted);
        Arc::new(Self {
            data: SpinLock::new(Vec::new()),
            writes: AtomicUsize::new(0),
            room: AtomicU64::new(pages),
            fails: AtomicBool::new(false),
            failing_page: AtomicU64::new(u64::MAX),
        })
    }

    fn writes(&self) -> usize {
        self.writes.load(Ordering::Relaxed)
    }

    fn room(&self) -> u64 {
        self.room.load(Ordering::Relaxed)
    }
}

const NOT_ASKED: Errno = Errno::ENOSYS;

impl InodeOperations for Elsewhere {
    fn patience(&self) -> u64 {
        0
    }
    fn lookup(&self, _: &Arc<Node>, _: &[u8]) -> Result<Option<Arc<Node>>, Errno> {
        Err(NOT_ASKED)
    }
    fn list(&self) -> Result<Vec<DirEntry>, Errno> {
        Err(NOT_ASKED)
    }
    fn create(&self, _: &[u8], _: u32, _: (u32, u32), _: &Kind) -> Result<Arc<Node>, Errno> {
        Err(NOT_ASKED)
    }
    fn link(&self, _: &[u8], _: &Node) -> Result<(), Errno> {
        Err(NOT_ASKED)
    }
    fn remove(&self, _: &[u8], _: &Node) -> Result<(), Errno> {
        Err(NOT_ASKED)
    }
    fn rename(&self, _: &[u8], _: &Node, _: &[u8], _: Option<&Node>, _: u32) -> Result<(), Errno> {
        Err(NOT_ASKED)
    }
    fn refresh(&self, _: &Node, _: bool) -> Result<(), Errno> {
        Err(NOT_ASKED)
    }
    fn expire(&self) {}
    fn change(&self, _: &Node, _: &Changes) -> Result<(), Errno> {
        Err(NOT_ASKED)
    }
    fn open(&self, _: u32) -> Result<Handle, Errno> {
        Err(NOT_ASKED)
    }
    fn closed(&self, _: &Node) {}
    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<usize, Errno> {
        let data = self.data.lock();
        let there = data.get(offset as usize..).unwrap_or(&[]);
        let len = there.len().min(buf.len());
        buf[..len].copy_from_slice(&there[..len]);
        Ok(len)
    }
    fn write(&self, offset: u64, buf: &[u8]) -> Result<usize, Errno> {
        let failing = self.failing_page.load(Ordering::Relaxed);
        if self.fails.load(Ordering::Relaxed) || offset / PAGE_LEN == failing {
            return Err(Errno::EIO);
        }
        self.writes.fetch_add(1, Ordering::Relaxed);
        let (start, mut data) = (offset as usize, self.data.lock());
        let len = data.len().max(start + buf.len());
        data.resize(len, 0);
        data[start..start + buf.len()].copy_from_slice(buf);
        Ok(buf.len())
    }
    fn keeps_back(&self) -> bool {
        true
    }
    fn set_room_aside(&self, pages: u64) -> bool {
        let less = |room: u64| room.checked_sub(pages);
        self.room
            .try_update(Ordering::Relaxed, Ordering::Relaxed, less)
            .is_ok()
    }
    fn give_room_back(&self, pages: u64) {
        self.room.fetch_add(pages, Ordering::Relaxed);
    }
    fn resize(&self, size: u64) -> Result<(), Errno> {
        self.data.lock().resize(size as usize, 0);
        Ok(())
    }
    fn xattr(&self, _: &[u8]) -> Result<Vec<u8>, Errno> {
        Err(NOT_ASKED)
    }
    fn xattr_names(&self) -> Result<Vec<Vec<u8>>, Errno> {
        Err(NOT_ASKED)
    }
    fn set_xattr(&self, _: &[u8], _: &[u8], _: u32) -> Result<(), Errno> {
        Err(NOT_ASKED)
    }
    fn remove_xattr(&self, _: &[u8]) -> Result<(), Errno> {
        Err(NOT_ASKED)
    }
    fn sync(&self, _: bool) -> Result<(), Errno> {
        Ok(())
    }
}

#[test]
fn what_is_written_is_elsewhere_once_it_is_written_back() {
    let file = Elsewhere::with_room(10);
    let content = Content::stored(file.clone(), 0);
    for at in (0..3 * PAGE).step_by(100) {
        content.write(at as u64, &[1; 100]).unwrap();
    }
    assert_eq!((file.writes(), file.room()), (0, 6));
    let mut seen = [0; 100];
    assert_eq!(content.read(5000, &mut seen), Ok(100));
    assert_eq!(seen, [1; 100]);
    content.write_back().unwrap();
    assert_eq!((file.writes(), file.room()), (1, 10));
    let whole = vec![1; content.size() as usize];
    assert_eq!(file.data.lock()[..], whole);
    content.write_back().unwrap();
    assert_eq!(file.writes(), 1);
}

#[test]
fn what_has_no_room_is_written_at_once() {
    let file = Elsewhere::with_room(2);
    let content = Content::stored(file.clone(), 0);
    assert_eq!(content.write(0, &[2; 3 * PAGE]), Ok(3 * PAGE));
    assert_eq!(file.data.lock()[2 * PAGE..], [2; PAGE]);
    assert_eq!(content.append(b"end"), Ok((3, 3 * PAGE as u64 + 3)));
    content.write_back().unwrap();
    assert_eq!(file.room(), 2);
    assert_eq!(file.data.lock()[..PAGE], [2; PAGE]);
}

#[test]
fn room_comes_back_with_what_is_cut_or_gone() {
    let file = Elsewhere::with_room(8);
    let content = Content::stored(file.clone(), 0);
    content.write(0, &[3; 5 * PAGE]).unwrap();
    content.resize(PAGE as u64 + 1).unwrap();
    assert_eq!(file.room(), 6);
    drop(content);
    assert_eq!((file.room(), file.writes()), (8, 0));
}

#[test]
fn a_failure_is_told_once_to_each_who_has_the_file_open_and_to_who_opens_it_next() {
    let file = Elsewhere::with_room(8);
    let content = Content::stored(file.clone(), 0);
    let [one, other] = [(); 2].map(|()| AtomicU64::new(content.failures_told()));
    content.write(0, b"lost").unwrap();
    file.fails.store(true, Ordering::Relaxed);
    assert_eq!(content.write_back(), Err(Errno::EIO));
    // Nobody has been told, so who opens it now is.
    let late = AtomicU64::new(content.failures_told());
    for told in [&one, &other, &late] {
        assert_eq!(content.failure_since(told), Err(Errno::EIO));
        assert_eq!(content.failure_since(told), Ok(()));
    }
    let later = AtomicU64::new(content.failures_told());
    assert_eq!(content.failure_since(&later), Ok(()));
}

#[test]
fn a_failure_is_remembered_whoever_has_changed_pages_written() {
    let file = Elsewhere::with_room(8);
    let content = Content::stored(file.clone(), 0);
    let told = AtomicU64::new(content.failures_told());
    content.write(0, b"lost").unwrap();
    file.fails.store(true, Ordering::Relaxed);
    assert_eq!(content.seek(0, true), Err(Errno::EIO));
    assert_eq!(content.failure_since(&told), Err(Errno::EIO));
}

#[test]
fn what_cannot_be_written_does_not_keep_the_rest_from_it() {
    let file = Elsewhere::with_room(8);
    let content = Content::stored(file.clone(), 0);
    for page in [0, 2, 3] {
        content.write(page * PAGE_LEN, &[5; PAGE]).unwrap();
    }
    file.failing_page.store(0, Ordering::Relaxed);
    let operations = content.inner.lock().stored().unwrap();
    let mut inner = content.inner.lock();
    assert_eq!(inner.write_pages(&*operations, 0..4), Err(Errno::EIO));
    assert!(inner.pages.values().all(|page| page.clean));
    assert_eq!(file.data.lock()[2 * PAGE..], [5; 2 * PAGE]);
}

#[test]
fn what_the_host_changes_takes_nothing_that_is_being_written() {
    let file = Elsewhere::with_room(8);
    let content = Content::stored(file.clone(), 0);
    content.write(0, &[6; PAGE]).unwrap();
    content.inner.lock().dirty.take();
    content.changed_elsewhere(PAGE_LEN);
    assert!(content.inner.lock().pages.contains_key(&0));
}

#[test]
fn holes_that_are_mapped_can_be_given_back() {
    let file = Elsewhere::with_room(8);
    let content = Content::stored(file.clone(), 0);
    content.write(9 * PAGE_LEN, b"end").unwrap();
    drop(content.page(4, false).unwrap());
    content.let_go(0, 8 * PAGE_LEN);
    assert!(!content.inner.lock().pages.contains_key(&4));
}
