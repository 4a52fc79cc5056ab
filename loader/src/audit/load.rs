//! How auditors come: each into a namespace of its own, before what the program needs is mapped.
//!
//! They run on the main thread, which is therefore made first, with room for the static thread-local storage of what is
//! still to be mapped. The first C library among them shows where `ld.so`'s data has what.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;

use super::notices::Activity;
use crate::auditors::{Auditor, MOST};
use crate::dl::Opening;
use crate::error::Error;
use crate::glibc;
use crate::host::Event;
use crate::link_map::Layout;
use crate::load::Load;
use crate::loader::Loader;
use crate::mode::Mode;
use crate::namespace::{Arrival, Audited, BASE, Key};
use crate::object::{Object, Role};
use crate::observer::{Step, tell};
use crate::signals;
use crate::start::Beginning;
use crate::text::Text;

/// `LAV_CURRENT`.
const VERSION: usize = 2;

/// The room for static thread-local storage of what is mapped after auditors; what does not fit is not static.
const ROOM: usize = 1 << 20;

/// What a C library is looked for as.
const LIBC: &[u8] = b"libc.so.6";

impl Loader {
    /// Loads the auditors of a program that has begun, and tells them of what is there already. What cannot be one is
    /// said, and left out.
    ///
    /// # Errors
    ///
    /// There are too many, or there is no C library for them.
    pub(crate) fn load_auditors(&self, beginning: &mut Beginning) -> Result<(), Error> {
        let names = core::mem::take(&mut beginning.auditors);
        if names.len() > MOST {
            return Err(Error::TooManyAuditors(names.len()));
        }
        let [main, rtld] = self.prepare_for_auditors(beginning)?;
        for name in &names {
            let loaded = signals::undisturbed(self.host(), || self.load_auditor(name, &rtld));
            if let Err(error) = loaded {
                self.host().trace(&Event::Warning(&format!(
                    "ERROR: ld.so: object '{}' cannot be loaded as audit interface: {}; ignored.",
                    Text(name),
                    reason(&error),
                )));
            }
        }
        let notices = self.loaded().notices();
        notices.objopen(&main);
        notices.objopen(&rtld);
        notices.activity(&main, Activity::Add);
        beginning.load.is_told = true;
        Ok(())
    }

    /// Makes the main thread, and `ld.so` known; returns the program and `ld.so`.
    fn prepare_for_auditors(&self, beginning: &mut Beginning) -> Result<[Arc<Object>; 2], Error> {
        let gone = || Error::Invalid("the program has gone");
        let mut state = self.state().lock(self.host());
        let main = state.with_role(Role::Main).cloned().ok_or_else(gone)?;
        let by = Key::of(&main);
        // A look at the C library tells how large a thread's descriptor is. It is mapped again for each auditor.
        let look = Load::new(beginning.load.thread.clone(), Mode::LAZY, false);
        let found = self.linker().search(&mut state, (LIBC, BASE), Some(by))?;
        let (file, path) = (&*found.file, &*found.path);
        let libc = self
            .linker()
            .map_object(&mut state, &look, file, path, (BASE, LIBC))?;
        let load = &mut beginning.load;
        let rtld = load.interpreter.take().ok_or_else(gone)?;
        rtld.set_id(state.new_id());
        let arrival = Arrival {
            name: rtld.path(),
            loaded_by: None,
            initial: true,
            deep: false,
        };
        self.linker()
            .add_mapped(&mut state, load, &rtld, (BASE, arrival))?;
        load.has_early_interpreter = true;
        let objects = [main, rtld];
        let [_, rtld] = &objects;
        let thread =
            self.make_main_thread((&libc, rtld), &objects, ROOM, beginning.stack, &load.thread)?;
        state.layout = Some(Layout::of(thread.fields.minor));
        state.main_thread = Some(thread);
        state.publish(self.world());
        Ok(objects)
    }

    /// Has the C library of an auditor, the first one there is, show where `ld.so`'s data has what, and fills that in.
    pub(crate) fn fill_for_auditor(&self, libc: &Object) {
        let (thread, rtld) = {
            let mut state = self.state().lock(self.host());
            let thread = state.main_thread.take();
            (thread, state.with_role(Role::Rtld).cloned())
        };
        let (Some(mut thread), Some(rtld)) = (thread, rtld) else {
            return;
        };
        if !thread.is_told() {
            self.remember_thread_atexit(libc);
            let surplus = glibc::static_tls_surplus(None);
            if let Err(error) = self.fill(&mut thread, (libc, &rtld), surplus) {
                self.host().fatal(&format!("{error}"));
            }
            thread.adopt(self.host());
        }
        self.state().lock(self.host()).main_thread = Some(thread);
    }

    /// Loads one auditor, and asks whether it is one.
    fn load_auditor(&self, name: &[u8], rtld: &Object) -> Result<(), Error> {
        let handle = self.open_object(&Opening::auditor(name, rtld.entry()))?;
        let symbol = |name: &[u8]| Ok(self.look_up(handle, name, None, 0)?.0);
        let notices = self.loaded().notices();
        let version = symbol(b"la_version")
            .map(|function| notices.call(function, [VERSION, 0, 0, 0]) & 0xffff_ffff);
        if !matches!(version, Ok(1..=VERSION)) {
            self.tell_refused(name, handle, &version);
            // It was opened just now.
            let _ = self.dlclose(handle);
            return version.map(drop);
        }
        let function = |name: &[u8]| symbol(name).unwrap_or(0);
        self.loaded().auditors().add(Auditor {
            activity: function(b"la_activity"),
            objsearch: function(b"la_objsearch"),
            objopen: function(b"la_objopen"),
            preinit: function(b"la_preinit"),
            symbind: function(b"la_symbind64"),
            pltenter: function(b"la_x86_64_gnu_pltenter"),
            pltexit: function(b"la_x86_64_gnu_pltexit"),
            objclose: function(b"la_objclose"),
        });
        let mut state = self.state().lock(self.host());
        let key = state.by_handle(handle);
        if let Some(space) = key.and_then(|key| state.space_mut(key.namespace)) {
            space.set_audited(Audited::Not);
        }
        state.publish(self.world());
        Ok(())
    }

    /// Says why an object is no auditor that has `la_version`: it does not want to be one, or not of this version.
    fn tell_refused(&self, name: &[u8], handle: usize, version: &Result<usize, Error>) {
        let (name, most) = (Text(name), VERSION);
        match version {
            Ok(0) => {
                let state = self.state().lock(self.host());
                let node = state.by_handle(handle).and_then(|key| state.node(key));
                if let Some(node) = node {
                    tell(self.host(), &Step::NoAuditor(node.object.label()));
                }
            }
            Ok(version) => self.host().trace(&Event::Debug(format_args!(
                "ERROR: audit interface '{name}' requires version {version} \
                 (maximum supported version {most}); ignored.",
            ))),
            Err(_) => {}
        }
    }
}

/// Returns what is wrong, as `ld.so` says it.
fn reason(error: &Error) -> String {
    match error {
        Error::UndefinedSymbol { symbol, .. } => format!("undefined symbol: {}", Text(symbol)),
        error => error.reason().into(),
    }
}
