//! Progress on a terminal; nothing in a pipe. Warnings go through here so that they do not tear
//! the progress line.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// What is being done at the moment, as one line on stderr if that is a terminal.
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Starts an empty progress line.
    pub(crate) fn new() -> Self {
        // indicatif hides the bar by itself when stderr is not a terminal.
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.enable_steady_tick(Duration::from_millis(120));
        Self { bar }
    }

    /// Says what happens now, for as long as it takes.
    pub(crate) fn step(&self, what: impl Into<String>) {
        self.bar.unset_length();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} [{elapsed}]") {
            self.bar.set_style(style);
        }
        self.bar.set_message(what.into());
    }

    /// Says what happens now, in `count` parts; [`Progress::advance`] ticks them off.
    pub(crate) fn count(&self, what: impl Into<String>, count: usize) {
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {bar:30} {pos}/{len}") {
            self.bar.set_style(style);
        }
        self.bar.set_position(0);
        self.bar
            .set_length(u64::try_from(count).unwrap_or(u64::MAX));
        self.bar.set_message(what.into());
    }

    /// One more part is done.
    pub(crate) fn advance(&self) {
        self.bar.inc(1);
    }

    /// Prints a warning on stderr, terminal or not.
    pub(crate) fn warn(&self, text: impl std::fmt::Display) {
        self.bar.suspend(|| eprintln!("elfin: warning: {text}"));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
