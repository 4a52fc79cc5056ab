//! Telling auditors: of searches, of objects that come and go, of the state of namespaces.

use alloc::vec::Vec;

use crate::auditors::{Auditor, Auditors};
use crate::host::Host;
use crate::loaded::Loaded;
use crate::object::Object;
use crate::signals;
use crate::stack::c_bytes;
use crate::tls;

/// Where a name that is searched for comes from: `la_objsearch`'s last argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// It is what was asked for.
    Original = 0x01,
    /// From LD_LIBRARY_PATH.
    LibraryPath = 0x02,
    /// From DT_RUNPATH or DT_RPATH.
    RunPath = 0x04,
    /// From `ld.so.cache`.
    Cache = 0x08,
    /// From a default directory.
    Default = 0x40,
}

/// The state of a namespace's list: `la_activity`'s last argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activity {
    /// It is whole.
    Consistent = 0,
    /// Objects are being added.
    Add = 1,
    /// Objects are being removed.
    Delete = 2,
}

/// A way to tell auditors.
#[derive(Clone, Copy)]
pub(crate) struct Notices<'a> {
    pub(super) auditors: &'a Auditors,
    host: &'static dyn Host,
    /// Whether what loads know is locked meanwhile.
    locked: bool,
}

/// Who is told of a search: the auditors, on behalf of an object.
#[derive(Clone, Copy)]
pub(crate) struct Ear<'a> {
    notices: Notices<'a>,
    by: &'a Object,
}

impl Ear<'_> {
    /// Tells of a name that is searched for; returns what to search for instead, `None` for nothing.
    pub(crate) fn hear(&self, name: &[u8], source: Source) -> Option<Vec<u8>> {
        self.notices.objsearch(name, self.by, source)
    }
}

impl<'a> Notices<'a> {
    /// Returns who is told of a search on behalf of an object; `None` if nobody is.
    pub(crate) fn ear(self, by: &'a Object) -> Option<Ear<'a>> {
        self.auditors
            .are_there()
            .then_some(Ear { notices: self, by })
    }
}

impl Loaded {
    /// Returns the way to tell auditors while no lock is held but the load lock.
    pub(crate) fn notices(&self) -> Notices<'_> {
        Notices {
            auditors: self.auditors(),
            host: self.host(),
            locked: false,
        }
    }

    /// Returns the way to tell auditors while what loads know is locked.
    pub(crate) fn locked_notices(&self) -> Notices<'_> {
        Notices {
            locked: true,
            ..self.notices()
        }
    }
}

impl Notices<'_> {
    /// Calls one of the functions that `rtld-audit(7)` names, with the arguments it takes.
    pub(super) fn call(&self, function: usize, arguments: [usize; 4]) -> usize {
        // SAFETY: the function is an auditor's own, or the loader's that calls it, found by its name.
        let call = || unsafe { self.host.call(function, arguments) };
        let record = tls::current(self.host.thread_pointer()).filter(|_| self.locked);
        let Some(record) = record else {
            return signals::disturbed(self.host, call);
        };
        // Handlers would find what loads know locked.
        let before = record.is_audited.replace(true);
        let result = signals::undisturbed(self.host, || signals::in_the_same_gate(self.host, call));
        record.is_audited.set(before);
        result
    }

    /// Tells what state the list of a namespace is in, whose first object is `head`.
    pub(crate) fn activity(&self, head: &Object, activity: Activity) {
        for (number, auditor) in self.auditors.all() {
            if auditor.activity != 0 {
                let cookie = head.mark(number).cookie();
                self.call(auditor.activity, [cookie, activity as usize, 0, 0]);
            }
        }
    }

    /// Tells of a name that is searched for on behalf of an object; returns what to search for instead, `None` for
    /// nothing.
    fn objsearch(&self, name: &[u8], by: &Object, source: Source) -> Option<Vec<u8>> {
        let mut name = [name, b"\0"].concat();
        for (number, auditor) in self.auditors.all() {
            if auditor.objsearch == 0 {
                continue;
            }
            let (at, cookie) = (name.as_ptr().expose_provenance(), by.mark(number).cookie());
            let answer = self.call(auditor.objsearch, [at, cookie, source as usize, 0]);
            if answer == 0 {
                return None;
            }
            if answer != at {
                // SAFETY: `la_objsearch` returns a C string.
                name = [unsafe { c_bytes(answer) }, b"\0"].concat();
            }
        }
        name.pop();
        Some(name)
    }

    /// Tells of an object that has come.
    pub(crate) fn objopen(&self, object: &Object) {
        let namespace = object.namespace().lmid();
        for (number, auditor) in self.auditors.all() {
            if auditor.objopen != 0 {
                let mark = object.mark(number);
                let arguments = [object.handle(), namespace, mark.cookie(), 0];
                let flags = self.call(auditor.objopen, arguments) & 0xffff_ffff;
                let flags = u32::try_from(flags).unwrap_or(0);
                mark.set_flags(flags);
            }
        }
    }

    /// Tells that the program is about to be entered.
    pub(crate) fn preinit(&self, main: &Object) {
        self.each(main, |auditor| auditor.preinit);
    }

    /// Tells that an object goes.
    pub(crate) fn objclose(&self, object: &Object) {
        self.each(object, |auditor| auditor.objclose);
    }

    /// Calls a function of each auditor with the cookie of an object.
    fn each(&self, object: &Object, function: impl Fn(&Auditor) -> usize) {
        for (number, auditor) in self.auditors.all() {
            let function = function(auditor);
            if function != 0 {
                self.call(function, [object.mark(number).cookie(), 0, 0, 0]);
            }
        }
    }
}
