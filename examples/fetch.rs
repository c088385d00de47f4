//! A web client: it gets a URI whose host is an actor's name, as often as it is told, and prints
//! the answers and what they came from.
//!
//! ```text
//! cargo run --example fetch --features hyper -- /unix/@market http://web/quote
//! ```

#![expect(clippy::print_stdout, reason = "it talks to a person")]

use std::error::Error;

use callsign::{
    Client,
    hyper::{Connector, Reached},
};
use http::{Request, Uri};
use http_body_util::{BodyExt, Empty};
use hyper_util::{client::legacy, rt::TokioExecutor};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let registrar = args.next().ok_or("usage: fetch REGISTRAR URI")?;
    let uri: Uri = args.next().ok_or("usage: fetch REGISTRAR URI")?.parse()?;

    let callsign = Client::connect([registrar]).await?;
    let http = legacy::Client::builder(TokioExecutor::new()).build(Connector::new(callsign));
    // Once, and again for every line of the input.
    let mut lines = BufReader::new(stdin()).lines();
    loop {
        let request = Request::get(&uri).body(Empty::<&[u8]>::new())?;
        let response = http.request(request).await.map_err(in_full)?;
        if let Some(reached) = response.extensions().get::<Reached>() {
            println!("{} over {}", response.status(), reached.endpoint);
        }
        let body = response.into_body().collect().await?.to_bytes();
        print!("{}", String::from_utf8_lossy(&body));
        if lines.next_line().await?.is_none() {
            return Ok(());
        }
    }
}

/// hyper's errors leave out their cause, which is what tells why.
fn in_full(error: legacy::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
