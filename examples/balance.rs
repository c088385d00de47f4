//! Requests that are balanced over all instances of a name: each goes to the less busy of two. One
//! that dies gets no more. It sends one request for each line of its input: press Enter for each, or
//! feed it lines.
//!
//! ```text
//! cargo run --example balance --features hyper,tower -- /unix/@market web /quote
//! yes | head -5 | cargo run --example balance --features hyper,tower -- /unix/@market web /quote
//! ```

#![expect(clippy::print_stdout, reason = "it talks to a person")]

use std::error::Error;

use callsign::{
    Client,
    hyper::Reached,
    tower::{Instance, Instances},
};
use http::Request;
use http_body_util::Empty;
use hyper_util::{client::legacy, rt::TokioExecutor};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};
use tower::{
    Service, ServiceExt,
    balance::p2c::Balance,
    load::{CompleteOnResponse, PendingRequestsDiscover},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let [registrar, name, path] = &args[..] else {
        return Err("usage: balance REGISTRAR NAME PATH".into());
    };
    let callsign = Client::connect([registrar]).await?;
    let uri = format!("http://{}{path}", callsign::host(&name.parse()?));

    // A client for each instance, with connections of its own.
    let instances = Instances::new(&callsign, name, |instance: Instance| {
        legacy::Client::builder(TokioExecutor::new()).build(instance.connector())
    })?;
    let load = CompleteOnResponse::default();
    let mut web = Balance::new(PendingRequestsDiscover::new(instances, load));

    // Once for every line of the input.
    let mut lines = BufReader::new(stdin()).lines();
    while lines.next_line().await?.is_some() {
        // It waits for the first instance.
        let request = Request::get(&uri).body(Empty::<&[u8]>::new())?;
        match web.ready().await.map_err(|it| it.to_string())?.call(request).await {
            Ok(response) => match response.extensions().get::<Reached>() {
                Some(reached) => println!("{} by {}", response.status(), reached.instance),
                None => println!("{}", response.status()),
            },
            Err(error) => println!("{error}"),
        }
    }
    Ok(())
}
