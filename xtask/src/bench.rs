//! Measures a registrar beside other servers.

use std::path::Path;

use anyhow::Result;

use crate::{step::Step, tools};

/// Builds the binary, and measures it beside the peers that are there, in the parts that are named.
/// All of them together write the page of figures.
///
/// # Errors
///
/// The step that failed.
pub(crate) fn run(parts: &[&str]) -> Result<()> {
    tools::provide_peers();
    let build = Step::cargo("release build", "build --release --locked --package callsign");
    build.once().run()?;
    let bench = Step::cargo(
        "peers",
        "bench --locked --profile release --package callsign-bench --bench peers --",
    );
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let write = ["--write", &folder.to_string_lossy()];
    let args = if parts.is_empty() { &write[..] } else { parts };
    bench.args(args).once().run()?;
    Ok(())
}
