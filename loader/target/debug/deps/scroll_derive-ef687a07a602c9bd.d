/work/wt-loader/loader/target/debug/deps/scroll_derive-ef687a07a602c9bd.d: /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/scroll_derive-0.13.2/src/lib.rs

/work/wt-loader/loader/target/debug/deps/libscroll_derive-ef687a07a602c9bd.so: /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/scroll_derive-0.13.2/src/lib.rs

/root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/scroll_derive-0.13.2/src/lib.rs:
