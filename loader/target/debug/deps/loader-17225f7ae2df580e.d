/work/wt-loader/loader/target/debug/deps/loader-17225f7ae2df580e.d: loader/src/lib.rs loader/src/error.rs loader/src/host.rs loader/src/loader.rs loader/src/text.rs

/work/wt-loader/loader/target/debug/deps/libloader-17225f7ae2df580e.rmeta: loader/src/lib.rs loader/src/error.rs loader/src/host.rs loader/src/loader.rs loader/src/text.rs

loader/src/lib.rs:
loader/src/error.rs:
loader/src/host.rs:
loader/src/loader.rs:
loader/src/text.rs:
