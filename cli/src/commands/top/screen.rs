//! The terminal: taken over, written to without waiting, and given back as it was.

use std::{
    cell::RefCell,
    io::{self, Write},
    mem,
    rc::Rc,
};

use ratatui_core::{
    buffer::Buffer,
    layout::Rect,
    terminal::{Terminal, TerminalOptions, Viewport},
};
use ratatui_termion::TermionBackend;
use rustix::termios::{
    InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize,
    tcsetattr,
};

use crate::outlet::is_writable;

/// A terminal that shows a screen of this program. Dropped, it shows again what it showed before.
pub(super) struct Screen {
    terminal: Terminal<TermionBackend<Ink>>,
    ink: Ink,
    /// The modes before; `None` while the terminal is given back.
    before: Option<Termios>,
}

/// What is written, until it is taken.
#[derive(Clone, Debug, Default)]
struct Ink(Rc<RefCell<Vec<u8>>>);

impl Screen {
    /// Takes the terminal of standard input and output over.
    pub(super) fn enter() -> io::Result<Self> {
        let ink = Ink::default();
        let viewport = Viewport::Fixed(area());
        let backend = TermionBackend::new(ink.clone());
        let terminal = Terminal::with_options(backend, TerminalOptions { viewport })?;
        let mut screen = Self { terminal, ink, before: None };
        screen.enter_again()?;
        Ok(screen)
    }

    /// Takes the terminal over after it was given back, or after somebody else has changed it.
    pub(super) fn enter_again(&mut self) -> io::Result<()> {
        let mut modes = tcgetattr(io::stdin())?;
        if self.before.is_none() {
            self.before = Some(modes.clone());
        }
        // Ctrl-C, Ctrl-\ and Ctrl-Z stay signals, and so reach a whole pipeline.
        modes.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::IEXTEN);
        modes.input_modes.remove(InputModes::IXON);
        modes.special_codes[SpecialCodeIndex::VMIN] = 1;
        modes.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(io::stdin(), OptionalActions::Now, &modes)?;
        self.ink.0.borrow_mut().extend_from_slice(ENTER);
        self.forget()
    }

    /// Gives the terminal back, as it was. If it takes nothing, only its modes.
    pub(super) fn leave(&mut self) {
        let Some(before) = self.before.take() else { return };
        self.ink.0.borrow_mut().clear();
        if is_writable(io::stdout()) {
            // A terminal that is gone needs nothing.
            _ = rustix::io::write(io::stdout(), LEAVE);
        }
        _ = tcsetattr(io::stdin(), OptionalActions::Now, &before);
    }

    /// Draws everything anew, at the size that the terminal has now.
    pub(super) fn forget(&mut self) -> io::Result<()> {
        self.terminal.resize(area())
    }

    /// Draws, and returns the bytes for the terminal.
    pub(super) fn draw(&mut self, draw: impl FnOnce(Rect, &mut Buffer)) -> io::Result<Vec<u8>> {
        self.terminal.draw(|frame| draw(frame.area(), frame.buffer_mut()))?;
        Ok(mem::take(&mut *self.ink.0.borrow_mut()))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Write for Ink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the terminal's size. One that does not know it is taken for a usual one.
fn area() -> Rect {
    let size = tcgetwinsize(io::stdout()).ok().filter(|it| it.ws_col > 0 && it.ws_row > 0);
    size.map_or(USUAL, |it| Rect::new(0, 0, it.ws_col.min(CELLS_MAX), it.ws_row.min(CELLS_MAX)))
}

/// Shows another screen than before, without a cursor.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l";

/// Shows the cursor and the screen of before, in its colours.
const LEAVE: &[u8] = b"\x1b[m\x1b[?25h\x1b[?1049l";

/// The size of a terminal of old.
const USUAL: Rect = Rect::new(0, 0, 80, 24);

/// The columns and rows that are drawn: more than there are on a wall, and a few megabytes. A
/// terminal's size is whatever its other end says.
const CELLS_MAX: u16 = 500;
