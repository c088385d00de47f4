//! The output of a process so far.

use std::{
    io::Read,
    sync::{Arc, Condvar, Mutex},
    thread,
};

use super::{LIMIT, now};

/// The output of a process so far, on one of its streams.
#[derive(Debug)]
pub(crate) struct Captured {
    shared: Arc<(Mutex<State>, Condvar)>,
    /// The part that was handed out as lines.
    taken: usize,
}

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    is_over: bool,
}

impl Captured {
    /// Reads an output on a separate thread, until nobody has it open any more.
    pub(crate) fn of(mut output: impl Read + Send + 'static) -> Self {
        let shared = Arc::<(Mutex<State>, Condvar)>::default();
        let writer = shared.clone();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                let count = output.read(&mut buffer).unwrap_or(0);
                let mut state = writer.0.lock().unwrap();
                state.bytes.extend_from_slice(&buffer[..count]);
                state.is_over = count == 0;
                writer.1.notify_all();
                if count == 0 {
                    return;
                }
            }
        });
        Self { shared, taken: 0 }
    }

    /// Waits for the next line; `None` if none comes in time, or none can come.
    pub(crate) fn next_line(&mut self) -> Option<String> {
        let deadline = now() + LIMIT;
        let (state, changed) = &*self.shared;
        let mut state = state.lock().unwrap();
        loop {
            let rest = &state.bytes[self.taken..];
            if let Some(length) = rest.iter().position(|it| *it == b'\n') {
                let line = String::from_utf8_lossy(&rest[..length]).into_owned();
                self.taken += length + 1;
                return Some(line);
            }
            let left = deadline.saturating_duration_since(now());
            if state.is_over || left.is_zero() {
                return None;
            }
            state = changed.wait_timeout(state, left).unwrap().0;
        }
    }

    /// Waits until nobody has the output open any more, and tells whether that happened in time.
    pub(crate) fn wait_for_end(&self) -> bool {
        let (state, changed) = &*self.shared;
        let state = state.lock().unwrap();
        let waited = changed.wait_timeout_while(state, LIMIT, |it| !it.is_over).unwrap();
        !waited.1.timed_out()
    }

    /// Returns all that was written so far.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.shared.0.lock().unwrap().bytes).into_owned()
    }
}
