//! A web server that `reqwest` asks at its Unix socket, as the page of connectors says.

use callsign::{Client, Endpoint, UnixAddress};
use rustix::process::geteuid;

use crate::{
    example,
    harness::{Node, Room},
    until,
};

/// The recipe of the page.
async fn web(client: &Client) -> Result<reqwest::Client, Box<dyn std::error::Error>> {
    let record = client.wait_for_actor("web").await?;
    let path = record.endpoints.iter().find_map(|it| match &it.endpoint {
        Endpoint::Unix(UnixAddress::Path(path)) => Some(path.as_str().to_owned()),
        Endpoint::Unix(UnixAddress::Abstract(name)) => Some(format!("\0{name}")),
        _ => None,
    });
    Ok(reqwest::Client::builder().unix_socket(path.ok_or("it has no Unix socket")?).build()?)
}

#[tokio::test]
async fn a_web_server_is_asked_and_after_its_death_the_next_one() {
    let room = Room::new();
    let node = Node::start(&room);
    let client = Client::connect([node.endpoint()]).await.unwrap();
    let quote = async |web: &reqwest::Client| {
        let answer = web.get("http://web/quote").send().await?.error_for_status()?;
        answer.text().await
    };
    let said = format!("of user {}", geteuid().as_raw());
    for place in [room.unix("web.sock"), room.abstract_unix("web")] {
        let server = example(&node, "web", &[node.endpoint(), &place]);
        let asked = web(&client).await.unwrap();
        let answer = quote(&asked).await.unwrap();
        assert!(answer.contains("EURUSD") && answer.contains(&said), "{answer}");
        server.kill();
        until(&node, "web", 0);
        assert!(quote(&asked).await.unwrap_err().is_request(), "it is there no more");
    }
}
