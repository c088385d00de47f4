//! Functions that another process could not be asked for.

use callsign_tree::{Context, export};

#[export]
fn blocking(number: u64) -> u64 {
    number
}

#[export]
async fn generic<T>(value: T) -> T {
    value
}

#[export]
async fn bounded(number: u64) -> u64
where
    u64: Copy,
{
    number
}

#[export]
async extern "C" fn qualified() {}

#[export]
async fn borrowed(_text: &str, _numbers: Vec<&u64>) -> &'static str {
    ""
}

#[export]
async fn hidden(numbers: impl Iterator<Item = u64>) -> Option<impl Sized> {
    numbers.last()
}

#[export]
async fn taken_apart((left, right): (u64, u64)) -> u64 {
    left + right
}

#[export]
async fn too_late(_number: u64, _context: &mut Context<(), u64, u64>) {}

#[export]
async fn too_few(_context: &mut Context<u64, u64>) {}

struct Counter(u64);

impl Counter {
    #[export]
    async fn count(&self) -> u64 {
        self.0
    }
}

#[export(name = "other")]
async fn named() {}

#[export(config = "callsign.toml")]
async fn with_settings() {}

fn main() {}
