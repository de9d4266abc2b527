//! Progress on standard error, only for a person who is watching.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Output, clean};

/// A running display; taken away when it is dropped, so that no error is drawn over.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl Output {
    /// A display for a task of unknown length: what is being done, and for how long already.
    pub fn progress(self, doing: &str) -> Progress {
        let bar = if self.shows_progress() {
            ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(8))
        } else {
            ProgressBar::hidden()
        };
        bar.set_style(
            ProgressStyle::with_template("{spinner} {msg} [{elapsed}]").expect("the template is fixed and was drawn"),
        );
        let progress = Progress(bar);
        progress.doing(doing);
        if self.shows_progress() {
            progress.0.enable_steady_tick(Duration::from_millis(125));
        }
        progress
    }
}

impl Progress {
    /// Says what is being done now.
    pub fn doing(&self, what: &str) {
        self.0.set_message(clean::line(what).into_owned());
    }

    /// Says something beside it: the display is taken away meanwhile.
    pub fn aside(&self, say: impl FnOnce()) {
        self.0.suspend(say);
    }

    /// Counts `done` of `total`, once a total is known.
    pub fn counted(&self, done: u64, total: Option<u64>) {
        if let Some(total) = total
            && self.0.length() != Some(total)
        {
            self.0.set_length(total);
            self.0.set_style(
                ProgressStyle::with_template("{spinner} {msg} {wide_bar} {human_pos} of {human_len} [{elapsed}]")
                    .expect("the template is fixed and was drawn"),
            );
        }
        self.0.set_position(done);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Color, LogFormat};

    #[test]
    fn templates_are_valid_and_nothing_is_drawn_for_programs() {
        let output = Output::new(true, false, Color::Auto, LogFormat::Text);
        let progress = output.progress("reading\u{1b}[2J");
        progress.counted(10, Some(1000));
        assert!(progress.0.is_hidden());
        assert_eq!(progress.0.message(), "reading\u{fffd}[2J");
        assert_eq!((progress.0.position(), progress.0.length()), (10, Some(1000)));
    }
}
