//! What locks become when others are taken and given up, who has to wait, and for whom nobody can.
use super::*;
use crate::fs::Metadata;

struct Numbered(u64);

impl File for Numbered {
    fn metadata(&self) -> Result<Metadata, Errno> {
        Ok(Metadata::anonymous(self.0, 0))
    }
}

fn lock_of(owner: usize, mode: Mode, first: i64, last: i64) -> Lock {
    Lock {
        owner: Owner::Files(owner),
        mode,
        first,
        last,
        pid: owner as i32,
    }
}

fn records(locks: &Locks) -> Vec<(Mode, i64, i64)> {
    let records = locks.records.iter();
    records
        .map(|lock| (lock.mode, lock.first, lock.last))
        .collect()
}

#[test]
fn locks_of_an_owner_are_joined_and_split() {
    use Mode::{Exclusive, Shared};
    let mut locks = Locks::default();
    let mut set = |mode: Option<Mode>, first, last| {
        let range = lock_of(1, mode.unwrap_or(Shared), first, last);
        locks.set(Class::Record, &range, mode);
        records(&locks)
    };
    assert_eq!(set(Some(Shared), 10, 19), [(Shared, 10, 19)]);
    assert_eq!(set(Some(Shared), 20, 29), [(Shared, 10, 29)]);
    assert_eq!(
        set(Some(Exclusive), 15, 24),
        [(Shared, 10, 14), (Exclusive, 15, 24), (Shared, 25, 29)]
    );
    assert_eq!(set(Some(Shared), 0, END), [(Shared, 0, END)]);
    assert_eq!(set(None, 5, 5), [(Shared, 0, 4), (Shared, 6, END)]);
    assert_eq!(set(Some(Shared), 5, 5), [(Shared, 0, END)]);
    assert_eq!(set(None, 100, END), [(Shared, 0, 99)]);
    assert_eq!(set(None, 0, END), []);
}

#[test]
fn only_what_others_share_is_granted() {
    let file = Numbered(1 << 50);
    let take = |lock| super::lock(&file, Class::Record, lock, false);
    take(lock_of(1, Mode::Shared, 0, 9)).unwrap();
    take(lock_of(2, Mode::Shared, 5, 14)).unwrap();
    let exclusive = lock_of(2, Mode::Exclusive, 10, 14);
    take(exclusive).unwrap();
    assert_eq!(take(lock_of(2, Mode::Exclusive, 9, 9)), Err(Errno::EAGAIN));
    let other = conflicting(&file, &lock_of(1, Mode::Shared, 0, END)).unwrap();
    assert_eq!(other, Some(exclusive));
    // Those of an open file see the processes', flock's do not.
    let open = Lock {
        owner: Owner::Open(1),
        ..exclusive
    };
    assert_eq!(take(open), Err(Errno::EAGAIN));
    super::lock(&file, Class::Flock, open, false).unwrap();
    for owner in [Owner::Files(1), Owner::Files(2)] {
        end(owner, &file, &[Class::Record]);
    }
    take(open).unwrap();
    end(open.owner, &file, &[Class::Flock, Class::Record]);
    assert!(!TABLE.lock().contains_key(&inode(&file).unwrap()));
}

#[test]
fn circles_of_processes_are_found() {
    let mut table = BTreeMap::new();
    // 1 has the first file and waits for the second, which 2 has; 2 waits for the third, which 3 has.
    for (file, holder, waiter) in [(1, 1, None), (2, 2, Some(1)), (3, 3, Some(2))] {
        let mut locks = Locks::default();
        let held = lock_of(holder, Mode::Exclusive, 0, 9);
        locks.set(Class::Record, &held, Some(Mode::Exclusive));
        let waiting = waiter.map(|waiter| (Class::Record, lock_of(waiter, Mode::Shared, 5, 5)));
        locks.waiting.extend(waiting);
        table.insert((0, file), locks);
    }
    let mut first = table.remove(&(0, 1)).unwrap();
    assert!(is_deadlock(&table, &first, &lock_of(3, Mode::Shared, 0, 0)));
    assert!(is_deadlock(&table, &first, &lock_of(2, Mode::Shared, 0, 0)));
    assert!(!is_deadlock(
        &table,
        &first,
        &lock_of(4, Mode::Exclusive, 0, 0)
    ));
    assert!(!is_deadlock(
        &table,
        &first,
        &lock_of(3, Mode::Shared, 10, 19)
    ));
    // Those who want something of the same file count, too.
    first
        .waiting
        .push((Class::Record, lock_of(5, Mode::Shared, 0, 0)));
    first.records[0].owner = Owner::Files(6);
    let held = lock_of(5, Mode::Exclusive, 20, 29);
    first.set(Class::Record, &held, Some(Mode::Exclusive));
    assert!(is_deadlock(
        &table,
        &first,
        &lock_of(6, Mode::Shared, 20, 20)
    ));
}
