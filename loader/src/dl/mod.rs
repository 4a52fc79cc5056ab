//! `dlopen`, `dlclose`, `dlsym` and their relatives, as functions from Rust values to results.

mod close;
#[expect(unsafe_code, reason = "structures that the program has handed over")]
mod info;
mod open;
#[expect(unsafe_code, reason = "IFUNC resolvers are called")]
mod symbol;

use crate::error::Error;
use crate::init::InitOn;
use crate::loader::Loader;
use crate::mode::Mode;

pub(crate) use open::Opening;

impl Loader {
    /// Opens an object and whatever it needs, or finds it loaded, as `dlopen` does; returns its handle, or `None` if
    /// [`Mode::NOLOAD`] asked for one that is not there. An empty name stands for the program.
    ///
    /// `name` is a path if it has a slash, else it is searched for (`ld.so(8)`). New objects are seen by the calling
    /// thread only while they are mapped and relocated, by the thread that runs their INIT functions and what it starts
    /// while these run, and by everybody when this returns ([`Visibility`](crate::Visibility)). Another thread that
    /// opens the same object waits until then.
    ///
    /// # Errors
    ///
    /// In glibc's words; nothing has changed then.
    ///
    /// # Examples
    ///
    /// ```
    /// # use loader::{InitOn, Mode};
    /// # use loader_process::{LOADER, compile};
    /// # use std::os::unix::ffi::OsStrExt;
    /// let path = compile("answer", "int answer = 42;")?;
    /// let path = path.as_os_str().as_bytes();
    /// assert_eq!(LOADER.open(path, Mode::LAZY | Mode::NOLOAD, InitOn::Caller)?, None);
    /// let handle = LOADER.open(path, Mode::NOW, InitOn::Caller)?.ok_or("not loaded")?;
    /// let answer = LOADER.symbol(handle, b"answer")? as *const i32;
    /// // SAFETY: the variable of an object that is loaded.
    /// assert_eq!(unsafe { *answer }, 42);
    /// assert!(LOADER.symbol(handle, b"question").is_err());
    /// LOADER.close(handle)?;
    ///
    /// let error = LOADER.open(b"/no/such.so", Mode::NOW, InitOn::Caller).unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "/no/such.so: cannot open shared object file: No such file or directory"
    /// );
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(&self, name: &[u8], mode: Mode, init: InitOn) -> Result<Option<usize>, Error> {
        let opening = Opening::new(name, mode.bits(), 0);
        let handle = self.open_object(&Opening { init, ..opening })?;
        Ok(Some(handle).filter(|&handle| handle != 0))
    }

    /// Undoes one [`open`](Self::open), as `dlclose` does. The last one runs the object's FINI functions and unloads
    /// it, unless something else uses it.
    ///
    /// # Errors
    ///
    /// There is no such handle.
    pub fn close(&self, handle: usize) -> Result<(), Error> {
        self.dlclose(handle)
    }

    /// Returns the address of a symbol of an object, or of one it needs, as `dlsym` does: a handle's first definition,
    /// breadth first. A thread-local variable's address is the calling thread's. Takes no lock.
    ///
    /// # Errors
    ///
    /// [`Error::UndefinedSymbol`], what is no handle, and a thread-local variable on a thread that is not the
    /// program's:
    ///
    /// ```
    /// # use loader::{InitOn, Mode};
    /// # use loader_process::{LOADER, compile};
    /// # use std::os::unix::ffi::OsStrExt;
    /// let path = compile("local", "__thread int local = 1;")?;
    /// let path = path.as_os_str().as_bytes();
    /// let handle = LOADER.open(path, Mode::NOW, InitOn::Caller)?.ok_or("not loaded")?;
    /// assert!(LOADER.symbol(handle, b"local").is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn symbol(&self, handle: usize, name: &[u8]) -> Result<usize, Error> {
        self.dlsym(handle, name, None, 0)
    }

    /// Lets debuggers see that lists of objects have changed. No lock is held here: a signal handler may come in.
    pub(crate) fn stop_debuggers(&self) {
        let function = self.state().lock(self.host()).base().debug.stop();
        if function != 0 {
            // SAFETY: an empty function of `ld.so`, there for breakpoints.
            unsafe { self.host().call(function, [0; 4]) };
        }
    }
}
