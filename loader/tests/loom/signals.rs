//! There are no signals here.

pub(crate) fn wait(host: &dyn super::host::Host, word: &super::primitive::AtomicU32, value: u32) {
    host.wait_with_handlers(word, value);
}
