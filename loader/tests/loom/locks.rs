//! The mutex.

use super::*;
use crate::sync::Mutex;

#[test]
fn a_mutex_admits_one_and_wakes_who_waits() {
    explore(3, || {
        let host = Futex::leak();
        let lock = Arc::new(Mutex::new(Shared::new(0)));
        lock.lock(host).set(0);
        let work = move |lock: &Mutex<Shared<i32>>| {
            let guard = lock.lock(host);
            guard.set(guard.get() + 1);
        };
        let threads = [0; 2].map(|_| {
            let lock = lock.clone();
            loom::thread::spawn(move || work(&lock))
        });
        work(&lock);
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(lock.lock(host).get(), 3);
    });
}
