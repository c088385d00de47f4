//! The report of a failure on standard error.

use super::{Exit, Failure};
use crate::{context::Context, hints, output};

impl Failure {
    /// Prints it to standard error, and returns how the program ends.
    pub(crate) fn report(self, context: &Context) -> Exit {
        // Nobody reads the result any more, so nobody misses the rest.
        if self.exit == Exit::READER_GONE {
            return self.exit;
        }
        let mut hints: Vec<_> = self.hints.iter().map(|it| it.line(context)).collect();
        if let Some(unanswered) = &self.unanswered {
            hints.extend(hints::unreached(unanswered, context));
        }
        let text = if context.json {
            self.to_json(&hints)
        } else {
            self.to_text(&hints, output::width(&std::io::stderr()))
        };
        // If nothing can be written to standard error, the exit code has to do.
        context.console.say(&text);
        self.exit
    }
}
