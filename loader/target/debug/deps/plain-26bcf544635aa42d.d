/work/wt-loader/loader/target/debug/deps/plain-26bcf544635aa42d.d: /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/plain-0.2.3/src/lib.rs /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/plain-0.2.3/src/error.rs /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/plain-0.2.3/src/plain.rs /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/plain-0.2.3/src/methods.rs

/work/wt-loader/loader/target/debug/deps/libplain-26bcf544635aa42d.rmeta: /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/plain-0.2.3/src/lib.rs /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/plain-0.2.3/src/error.rs /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/plain-0.2.3/src/plain.rs /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/plain-0.2.3/src/methods.rs

/root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/plain-0.2.3/src/lib.rs:
/root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/plain-0.2.3/src/error.rs:
/root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/plain-0.2.3/src/plain.rs:
/root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/plain-0.2.3/src/methods.rs:
