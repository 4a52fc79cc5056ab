//! The initial stack content as Linux lays it out: `argc`, arguments, environment, auxiliary vector.

pub(crate) const AT_PHDR: usize = 3;
pub(crate) const AT_PHNUM: usize = 5;
pub(crate) const AT_PAGESZ: usize = 6;
pub(crate) const AT_BASE: usize = 7;
pub(crate) const AT_ENTRY: usize = 9;
pub(crate) const AT_PLATFORM: usize = 15;
pub(crate) const AT_CLKTCK: usize = 17;
const AT_SECURE: usize = 23;
pub(crate) const AT_RANDOM: usize = 25;
pub(crate) const AT_HWCAP2: usize = 26;
pub(crate) const AT_SYSINFO_EHDR: usize = 33;
pub(crate) const AT_MINSIGSTKSZ: usize = 51;

/// What programs with more rights than their user do not get to see, as from `ld.so`.
#[doc(alias = "unsecure_envvars")]
const UNSAFE_VARIABLES: [&[u8]; 25] = [
    b"GCONV_PATH",
    b"GETCONF_DIR",
    b"GLIBC_TUNABLES",
    b"HOSTALIASES",
    b"LD_AUDIT",
    b"LD_DEBUG",
    b"LD_DEBUG_OUTPUT",
    b"LD_DYNAMIC_WEAK",
    b"LD_HWCAP_MASK",
    b"LD_LIBRARY_PATH",
    b"LD_ORIGIN_PATH",
    b"LD_PRELOAD",
    b"LD_PROFILE",
    b"LD_SHOW_AUXV",
    b"LD_USE_LOAD_BIAS",
    b"LOCALDOMAIN",
    b"LOCPATH",
    b"MALLOC_TRACE",
    b"NIS_PATH",
    b"NLSPATH",
    b"RESOLV_HOST_CONF",
    b"RES_OPTIONS",
    b"TMPDIR",
    b"TZDIR",
    b"MALLOC_CHECK_",
];

/// The arguments INIT functions get.
#[derive(Clone, Copy, Default)]
pub(crate) struct InitArguments {
    pub(crate) argc: usize,
    pub(crate) argv: usize,
    pub(crate) envp: usize,
}

/// A view of it.
#[derive(Clone, Copy)]
pub(crate) struct InitialStack {
    at: usize,
    argc: usize,
    envp: usize,
    auxv: usize,
}

impl InitialStack {
    /// Looks at the stack content at an address.
    ///
    /// # Safety
    ///
    /// It must be laid out as described, and stay as long as the view is used.
    pub(crate) unsafe fn new(at: usize) -> Self {
        // SAFETY: the stack starts with `argc`, says the caller, and the environment ends with a null pointer.
        let (argc, envp, auxv) = unsafe {
            let argc = *(at as *const usize);
            let envp = at + 8 * (argc + 2);
            let mut auxv = envp;
            while *(auxv as *const usize) != 0 {
                auxv += 8;
            }
            (argc, envp, auxv)
        };
        Self {
            at,
            argc,
            envp,
            auxv: auxv + 8,
        }
    }

    /// Returns the address of `argc`.
    pub(crate) fn address(&self) -> usize {
        self.at
    }

    pub(crate) fn argc(&self) -> usize {
        self.argc
    }

    pub(crate) fn argv(&self) -> usize {
        self.at + 8
    }

    pub(crate) fn envp(&self) -> usize {
        self.envp
    }

    pub(crate) fn auxv(&self) -> usize {
        self.auxv
    }

    /// Returns the keys and values of the auxiliary vector, and where the values are.
    fn entries(&self) -> impl Iterator<Item = ([usize; 2], *mut usize)> {
        let mut at = self.auxv;
        core::iter::from_fn(move || {
            // SAFETY: the vector ends with AT_NULL, where this stops.
            let entry = unsafe { *(at as *const [usize; 2]) };
            at += 16;
            (entry[0] != 0).then_some((entry, (at - 8) as *mut usize))
        })
    }

    /// Returns the value of an entry of the auxiliary vector.
    pub(crate) fn auxiliary(&self, key: usize) -> Option<usize> {
        let value = |([other, value], _): ([usize; 2], *mut usize)| (other == key).then_some(value);
        self.entries().find_map(value)
    }

    /// Changes the value of an entry that is there.
    pub(crate) fn set_auxiliary(&self, key: usize, value: usize) {
        for (_, place) in self.entries().filter(|&([other, _], _)| other == key) {
            // SAFETY: `entries` yields places in the vector, which is writable.
            unsafe { *place = value };
        }
    }

    /// Says whether the program has more rights than who has started it.
    pub(crate) fn is_secure(&self) -> bool {
        self.auxiliary(AT_SECURE).unwrap_or(0) != 0
    }

    /// Returns the strings of the environment.
    fn settings(&self) -> impl Iterator<Item = Setting> {
        let mut at = self.envp;
        core::iter::from_fn(move || {
            // SAFETY: the environment ends with a null pointer, where this stops.
            let string = unsafe { *(at as *const usize) };
            at += 8;
            (string != 0).then_some(Setting(string))
        })
    }

    /// Takes variables out of the environment by which its maker could get at such a program's rights, or at those of
    /// what that runs.
    pub(crate) fn remove_unsafe_variables(&self) {
        let sets = |setting: &Setting, name: &&[u8]| setting.value(name).is_some();
        let is_safe = |setting: &Setting| !UNSAFE_VARIABLES.iter().any(|name| sets(setting, name));
        let kept = self.settings().filter(is_safe).map(|Setting(at)| at);
        for (index, string) in kept.chain([0]).enumerate() {
            // SAFETY: the environment is writable; this entry has been read, or is the null pointer at the end.
            unsafe { *(self.envp as *mut usize).add(index) = string };
        }
    }

    /// Returns the value of an environment variable.
    pub(crate) fn variable(&self, name: &[u8]) -> Option<&'static [u8]> {
        self.settings().find_map(|setting| setting.value(name))
    }
}

/// Where a string of the environment is.
struct Setting(usize);

impl Setting {
    /// Returns its value, if it is that of a variable, whose name has no NUL. Of others, which may be long, no more is
    /// looked at than it takes to tell them from it.
    fn value(&self, name: &[u8]) -> Option<&'static [u8]> {
        let mut start = (self.0..).zip(name.iter().chain(b"="));
        // SAFETY: within a C string, for no byte is equal to its end, where this stops; and it stays where it is.
        unsafe {
            let sets = start.all(|(at, &byte)| *(at as *const u8) == byte);
            sets.then(|| c_bytes(self.0 + name.len() + 1))
        }
    }
}

/// Returns a C string's bytes.
///
/// # Safety
///
/// `at` must be the address of one, which stays as it is while the result is used.
pub(crate) unsafe fn c_bytes(at: usize) -> &'static [u8] {
    // SAFETY: the caller says that there is a C string, which stays as it is.
    unsafe { core::ffi::CStr::from_ptr(at as *const core::ffi::c_char) }.to_bytes()
}
