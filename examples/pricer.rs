//! A caller: it waits until there is a `feed`, connects to the nearest one, and prints what that
//! says and how it was reached.
//!
//! ```text
//! cargo run --example pricer -- /unix/@market
//! ```

#![expect(clippy::print_stdout, reason = "it talks to a person")]

use std::error::Error;

use callsign::Client;
use tokio::io::AsyncReadExt;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let registrar = std::env::args().nth(1).ok_or("usage: pricer REGISTRAR")?;
    let callsign = Client::connect([registrar]).await?;

    callsign.wait_for_actor("feed").await?;
    // Between the two calls the feed may go, so this may be `None` all the same.
    let Some(mut feed) = callsign.find_actor("feed").await? else {
        return Err("the feed has gone again".into());
    };
    let mut quote = String::new();
    feed.read_to_string(&mut quote).await?;
    print!("{quote}");
    println!("over {} ({})", feed.endpoint, feed.locality);
    Ok(())
}
