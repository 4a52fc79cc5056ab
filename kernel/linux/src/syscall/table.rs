//! The table of system calls: number, function, kinds of arguments (for the trace). What is not here is ENOSYS.

use super::names::NAMES;
use super::{fs, mm, process, restart, signal, time};
use abi::SysResult;
use machine::arch::TrapFrame;

/// What an argument is, as the trace shows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// A number.
    Int,
    /// A length or an offset.
    Size,
    /// Flags.
    Hex,
    /// Permissions.
    Octal,
    /// An address.
    Pointer,
    /// A string.
    String,
    /// A file descriptor.
    Fd,
}

macro_rules! call {
    ($f:path, $a:ident, $frame:ident, frame []) => {
        $f($frame)
    };
    ($f:path, $a:ident, $frame:ident, frame [$k0:ident $k1:ident]) => {
        $f($frame, $a[0], $a[1])
    };
    ($f:path, $a:ident, $frame:ident, frame [$k0:ident $k1:ident $k2:ident $k3:ident $k4:ident]) => {
        $f($frame, $a[0], $a[1], $a[2], $a[3], $a[4])
    };
    ($f:path, $a:ident, $frame:ident, []) => {
        $f()
    };
    ($f:path, $a:ident, $frame:ident, [$k0:ident]) => {
        $f($a[0])
    };
    ($f:path, $a:ident, $frame:ident, [$k0:ident $k1:ident]) => {
        $f($a[0], $a[1])
    };
    ($f:path, $a:ident, $frame:ident, [$k0:ident $k1:ident $k2:ident]) => {
        $f($a[0], $a[1], $a[2])
    };
    ($f:path, $a:ident, $frame:ident, [$k0:ident $k1:ident $k2:ident $k3:ident]) => {
        $f($a[0], $a[1], $a[2], $a[3])
    };
    ($f:path, $a:ident, $frame:ident, [$k0:ident $k1:ident $k2:ident $k3:ident $k4:ident]) => {
        $f($a[0], $a[1], $a[2], $a[3], $a[4])
    };
    ($f:path, $a:ident, $frame:ident, [$k0:ident $k1:ident $k2:ident $k3:ident $k4:ident $k5:ident]) => {
        $f($a[0], $a[1], $a[2], $a[3], $a[4], $a[5])
    };
}

macro_rules! calls {
    ($($number:literal $module:ident::$name:ident $($with:ident)? [$($kind:ident)*];)*) => {
        /// Makes a call. `None`: it is not there.
        pub(super) fn dispatch(number: usize, a: &[usize; 6], frame: &mut TrapFrame) -> Option<SysResult> {
            Some(match number {
                $($number => call!($module::$name, a, frame, $($with)? [$($kind)*]),)*
                _ => return None,
            })
        }

        /// Kinds of a call's arguments; none for one that is not there.
        pub(super) fn kinds(number: usize) -> &'static [Kind] {
            match number {
                $($number => &[$(Kind::$kind),*],)*
                _ => &[],
            }
        }

        #[cfg(test)]
        const TABLE: &[(usize, &str)] = &[$(($number, stringify!($name))),*];
    };
}

calls! {
    0 fs::read [Fd Pointer Size];
    1 fs::write [Fd Pointer Size];
    2 fs::open [String Hex Octal];
    3 fs::close [Fd];
    4 fs::stat [String Pointer];
    5 fs::fstat [Fd Pointer];
    6 fs::lstat [String Pointer];
    7 fs::poll [Int Size Pointer];
    8 fs::lseek [Fd Size Int];
    9 mm::mmap [Pointer Size Hex Hex Fd Size];
    10 mm::mprotect [Pointer Size Hex];
    11 mm::munmap [Pointer Size];
    12 mm::brk [Pointer];
    13 signal::rt_sigaction [Int Pointer Pointer Size];
    14 signal::rt_sigprocmask [Int Pointer Pointer Size];
    15 signal::rt_sigreturn frame [];
    16 fs::ioctl [Fd Hex Pointer];
    17 fs::pread64 [Fd Pointer Size Int];
    18 fs::pwrite64 [Fd Pointer Size Int];
    19 fs::readv [Fd Pointer Size];
    20 fs::writev [Fd Pointer Size];
    21 fs::access [String Octal];
    22 fs::pipe [Int];
    23 fs::select [Size Int Int Int Pointer];
    24 process::sched_yield [];
    25 mm::mremap [Pointer Size Size Hex Pointer];
    26 mm::msync [Pointer Size Hex];
    27 mm::mincore [Pointer Size Pointer];
    28 mm::madvise [Pointer Size Hex];
    32 fs::dup [Fd];
    33 fs::dup2 [Pointer Pointer];
    34 signal::pause [];
    35 time::nanosleep [Hex Pointer];
    36 signal::getitimer [Int Pointer];
    37 signal::alarm [Int];
    38 signal::setitimer [Int Pointer Pointer];
    39 process::getpid [];
    40 fs::sendfile [Pointer String Int Size];
    41 fs::socket [Int Int Pointer];
    44 fs::sendto [Fd Pointer Size Hex Pointer Pointer];
    45 fs::recvfrom [Fd Pointer Size Hex Pointer Pointer];
    46 fs::sendmsg [Fd Int Hex];
    47 fs::recvmsg [Fd Int Hex];
    48 fs::shutdown [Fd Int];
    51 fs::getsockname [Fd Pointer Pointer];
    52 fs::getpeername [Fd Pointer Pointer];
    53 fs::socketpair [Int Int Pointer Int];
    54 fs::setsockopt [Fd Int Int Pointer Size];
    55 fs::getsockopt [Fd Int String Pointer Size];
    56 process::clone frame [Hex Pointer Int Int Int];
    57 process::fork [];
    58 process::vfork [];
    59 process::execve [String Pointer Pointer];
    60 process::exit [Int];
    61 process::wait4 [Int Pointer Int Int];
    62 signal::kill [Int Int];
    63 process::uname [Pointer];
    72 fs::fcntl [Fd Int Pointer];
    73 fs::flock [Fd Int];
    74 fs::fsync [Fd];
    75 fs::fdatasync [Fd];
    76 fs::truncate [String Size];
    77 fs::ftruncate [Fd Size];
    78 fs::getdents [Fd Pointer Size];
    79 fs::getcwd [Pointer Size];
    80 fs::chdir [String];
    81 fs::fchdir [Fd];
    82 fs::rename [String Pointer];
    83 fs::mkdir [String Octal];
    84 fs::rmdir [String];
    85 fs::creat [String Octal];
    86 fs::link [String Pointer];
    87 fs::unlink [String];
    88 fs::symlink [Int String];
    89 fs::readlink [String Pointer Size];
    90 fs::chmod [String Octal];
    91 fs::fchmod [Fd Octal];
    92 fs::chown [String Int Int];
    93 fs::fchown [Fd Int Int];
    94 fs::lchown [String Int Int];
    95 fs::umask [Pointer];
    96 time::gettimeofday [Pointer Int];
    97 process::getrlimit [Int Pointer];
    98 process::getrusage [Int Pointer];
    99 process::sysinfo [Pointer];
    100 time::times [Pointer];
    102 process::getuid [];
    104 process::getgid [];
    105 process::setuid [Int];
    106 process::setgid [Int];
    107 process::geteuid [];
    108 process::getegid [];
    109 process::setpgid [Int Int];
    110 process::getppid [];
    111 process::getpgrp [];
    112 process::setsid [];
    113 process::setreuid [Int Int];
    114 process::setregid [Int Int];
    115 process::getgroups [Size Int];
    116 process::setgroups [Size Int];
    117 process::setresuid [Int Int Int];
    118 process::getresuid [Int Int Int];
    119 process::setresgid [Int Int Int];
    120 process::getresgid [Int Int Int];
    121 process::getpgid [Int];
    122 process::setfsuid [Int];
    123 process::setfsgid [Int];
    124 process::getsid [Int];
    125 process::capget [Pointer Int];
    126 process::capset [Pointer Int];
    127 signal::rt_sigpending [Pointer Size];
    128 signal::rt_sigtimedwait [Pointer Pointer Pointer Size];
    129 signal::rt_sigqueueinfo [Int Int Pointer];
    130 signal::rt_sigsuspend [Pointer Size];
    131 signal::sigaltstack frame [Pointer Pointer];
    132 fs::utime [String Pointer];
    133 fs::mknod [String Octal Int];
    135 process::personality [Int];
    137 fs::statfs [String Pointer];
    138 fs::fstatfs [Fd Pointer];
    140 process::getpriority [Int Int];
    141 process::setpriority [Int Int Int];
    142 process::sched_setparam [Int String];
    143 process::sched_getparam [Int Pointer];
    144 process::sched_setscheduler [Int Int String];
    145 process::sched_getscheduler [Int];
    146 process::sched_get_priority_max [Int];
    147 process::sched_get_priority_min [Int];
    148 process::sched_rr_get_interval [Int Pointer];
    149 mm::mlock [Pointer Size];
    150 mm::munlock [Pointer Size];
    151 mm::mlockall [Hex];
    152 mm::munlockall [];
    157 process::prctl [Int Pointer Pointer Pointer Pointer];
    158 process::arch_prctl [Int Pointer];
    159 time::adjtimex [Pointer];
    160 process::setrlimit [Int String];
    162 fs::sync [];
    164 time::settimeofday [Pointer Int];
    169 process::reboot [Int Int Int Pointer];
    170 process::sethostname [String Size];
    171 process::setdomainname [String Size];
    186 process::gettid [];
    187 fs::readahead [Fd Size Size];
    188 fs::setxattr [String Int Int Int Int];
    189 fs::lsetxattr [String Int Int Int Int];
    190 fs::fsetxattr [Fd Int Int Int Int];
    191 fs::getxattr [String String Pointer Size];
    192 fs::lgetxattr [String String Pointer Size];
    193 fs::fgetxattr [Fd String Pointer Size];
    194 fs::listxattr [String Int Size];
    195 fs::llistxattr [String Int Size];
    196 fs::flistxattr [Fd Int Size];
    197 fs::removexattr [String String];
    198 fs::lremovexattr [String String];
    199 fs::fremovexattr [Fd String];
    200 signal::tkill [Int Int];
    201 time::time [Pointer];
    202 process::futex [Pointer Hex Pointer Pointer Int Pointer];
    203 process::sched_setaffinity [Int Size String];
    204 process::sched_getaffinity [Int Size Pointer];
    213 fs::epoll_create [Size];
    217 fs::getdents64 [Fd Pointer Size];
    218 process::set_tid_address [Pointer];
    219 restart::restart_syscall [];
    221 fs::fadvise64 [Fd Size Size Hex];
    222 signal::timer_create [Int Pointer Pointer];
    223 signal::timer_settime [Int Hex Pointer Pointer];
    224 signal::timer_gettime [Int Pointer];
    225 signal::timer_getoverrun [Int];
    226 signal::timer_delete [Int];
    227 time::clock_settime [Int String];
    228 time::clock_gettime [Int Pointer];
    229 time::clock_getres [Int Pointer];
    230 time::clock_nanosleep [Int Hex Hex Pointer];
    231 process::exit_group [Int];
    232 fs::epoll_wait [Fd Pointer Int Pointer];
    233 fs::epoll_ctl [Fd Int Fd Int];
    234 signal::tgkill [Int Int Int];
    235 fs::utimes [String Pointer];
    237 mm::mbind [Int Int Int Int Int Int];
    238 mm::set_mempolicy [Octal Pointer Int];
    239 mm::get_mempolicy [Octal Pointer Int Int Int];
    240 fs::mq_open [String Hex Octal Pointer];
    241 fs::mq_unlink [String];
    242 fs::mq_timedsend [Fd Pointer Size Int Pointer];
    243 fs::mq_timedreceive [Fd Pointer Size Pointer Pointer];
    244 fs::mq_notify [Fd Pointer];
    245 fs::mq_getsetattr [Fd Pointer Pointer];
    247 process::waitid [Int Int Pointer Int Int];
    251 process::ioprio_set [Int Int Int];
    252 process::ioprio_get [Int Int];
    257 fs::openat [Fd String Hex Octal];
    258 fs::mkdirat [Fd String Octal];
    259 fs::mknodat [Fd String Octal Int];
    260 fs::fchownat [Fd String Int Int Hex];
    261 fs::futimesat [Fd String Pointer];
    262 fs::newfstatat [Fd String Pointer Hex];
    263 fs::unlinkat [Fd String Hex];
    264 fs::renameat [Int String Pointer Pointer];
    265 fs::linkat [Int String Pointer Pointer Hex];
    266 fs::symlinkat [Int Fd String];
    267 fs::readlinkat [Fd String Pointer Size];
    268 fs::fchmodat [Fd String Octal];
    269 fs::faccessat [Fd String Octal];
    270 fs::pselect6 [Size Int Int Int Pointer Pointer];
    271 fs::ppoll [Int Size Pointer Pointer Size];
    273 process::set_robust_list [Pointer Size];
    274 process::get_robust_list [Int Pointer Size];
    275 fs::splice [String Int Pointer Int Int Int];
    277 fs::sync_file_range [Fd Size Size Hex];
    280 fs::utimensat [Fd String Pointer Hex];
    281 fs::epoll_pwait [Fd Pointer Int Pointer Pointer Size];
    282 fs::signalfd [Fd Pointer Size];
    283 fs::timerfd_create [Int Hex];
    284 fs::eventfd [Size];
    285 fs::fallocate [Fd Octal Size Size];
    286 fs::timerfd_settime [Fd Hex Pointer Pointer];
    287 fs::timerfd_gettime [Fd Int];
    289 fs::signalfd4 [Fd Pointer Size Hex];
    290 fs::eventfd2 [Size Hex];
    291 fs::epoll_create1 [Hex];
    292 fs::dup3 [Pointer Pointer Hex];
    293 fs::pipe2 [Int Hex];
    295 fs::preadv [Fd Pointer Size Int];
    296 fs::pwritev [Fd Pointer Size Int];
    297 signal::rt_tgsigqueueinfo [Int Int Int Pointer];
    302 process::prlimit64 [Int Int Pointer Pointer];
    305 time::clock_adjtime [Int Pointer];
    306 fs::syncfs [Fd];
    309 process::getcpu [Int Int Int];
    316 fs::renameat2 [Int String Pointer Pointer Hex];
    317 process::seccomp [Int Hex Pointer];
    318 process::getrandom [Pointer Size Hex];
    319 fs::memfd_create [String Hex];
    322 process::execveat [Fd String Pointer Pointer Hex];
    324 process::membarrier [Int Hex Int];
    325 mm::mlock2 [Pointer Size Hex];
    326 fs::copy_file_range [String Int Pointer Pointer Size Hex];
    327 fs::preadv2 [Fd Pointer Size Int Int Hex];
    328 fs::pwritev2 [Fd Pointer Size Int Int Hex];
    329 mm::pkey_mprotect [Pointer Size Hex Int];
    332 fs::statx [Fd String Hex Pointer Pointer];
    435 process::clone3 frame [Pointer Size];
    436 fs::close_range [Int Int Hex];
    437 fs::openat2 [Fd String Int Size];
    439 fs::faccessat2 [Fd String Octal Hex];
    441 fs::epoll_pwait2 [Fd Pointer Int Pointer Pointer Size];
    449 process::futex_waitv [Pointer Int Hex Pointer Int];
}

/// A call's name.
pub(super) fn name(number: usize) -> &'static str {
    NAMES
        .get(number)
        .copied()
        .filter(|name| !name.is_empty())
        .unwrap_or("?")
}

/// Whether a call never returns to its caller.
pub(super) fn never_returns(number: usize) -> bool {
    matches!(name(number), "exit" | "exit_group" | "rt_sigreturn")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_have_their_calls_names() {
        for &(number, function) in TABLE {
            assert_eq!(name(number), function, "{number}");
        }
    }
}
