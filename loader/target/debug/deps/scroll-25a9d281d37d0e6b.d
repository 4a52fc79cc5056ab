/work/wt-loader/loader/target/debug/deps/scroll-25a9d281d37d0e6b.d: /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/scroll-0.13.0/src/lib.rs /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/scroll-0.13.0/src/ctx.rs /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/scroll-0.13.0/src/endian.rs /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/scroll-0.13.0/src/error.rs /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/scroll-0.13.0/src/greater.rs /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/scroll-0.13.0/src/leb128.rs /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/scroll-0.13.0/src/pread.rs /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/scroll-0.13.0/src/pwrite.rs /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/scroll-0.13.0/src/../README.md

/work/wt-loader/loader/target/debug/deps/libscroll-25a9d281d37d0e6b.rmeta: /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/scroll-0.13.0/src/lib.rs /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/scroll-0.13.0/src/ctx.rs /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/scroll-0.13.0/src/endian.rs /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/scroll-0.13.0/src/error.rs /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/scroll-0.13.0/src/greater.rs /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/scroll-0.13.0/src/leb128.rs /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/scroll-0.13.0/src/pread.rs /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/scroll-0.13.0/src/pwrite.rs /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/scroll-0.13.0/src/../README.md

/root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/scroll-0.13.0/src/lib.rs:
/root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/scroll-0.13.0/src/ctx.rs:
/root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/scroll-0.13.0/src/endian.rs:
/root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/scroll-0.13.0/src/error.rs:
/root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/scroll-0.13.0/src/greater.rs:
/root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/scroll-0.13.0/src/leb128.rs:
/root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/scroll-0.13.0/src/pread.rs:
/root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/scroll-0.13.0/src/pwrite.rs:
/root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/scroll-0.13.0/src/../README.md:
