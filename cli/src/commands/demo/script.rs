//! The steps of the demonstration.

use std::{
    fs,
    net::{IpAddr, SocketAddr, TcpListener},
    time::{Duration, Instant},
};

use anyhow::anyhow;
use endpoints::Endpoint;

use super::stage::Stage;
use crate::failure::Failure;

/// Plays the whole script, and returns how long after its death a program was reported gone.
/// `loopback` is the address at which they find each other.
pub(super) async fn play(stage: &mut Stage<'_>, loopback: IpAddr) -> Result<Duration, Failure> {
    let folder = stage.folder().display().to_string();
    let registrar = format!("/unix{folder}/registrar");
    let feed = format!("/unix{folder}/feed");
    let any_port = Endpoint::from(SocketAddr::from((loopback, 0))).to_string();
    let start_feed = ["callsign", "demo", "--act", "feed", &feed, &any_port];

    stage.remark(format_args!("all of it happens in {folder}, which is gone at the end"))?;
    stage.say("A registrar keeps the names:")?;
    let listen = ["--listen", &registrar, "--listen", &any_port];
    stage.start("registrar", &[&["callsign", "registrar"][..], &listen].concat())?;
    for _endpoint in listen.chunks(2) {
        let line = stage.line_of("registrar").await?;
        stage.print(format_args!("{line}\n"))?;
    }
    stage.ask(&registrar)?;

    stage.say("Any program becomes an actor. Here a web server and a clock:")?;
    start_web(stage, loopback).await?;
    let clock = format!("/unix/@{}-clock", &folder[folder.rfind('/').map_or(0, |it| it + 1)..]);
    let play_clock = ["callsign", "demo", "--act", "clock", &clock];
    stage.start(
        "clock",
        &[&["callsign", "register", "clock", &clock, "--"][..], &play_clock].concat(),
    )?;
    stage.say("A program that registers itself, through the library:")?;
    stage.start("feed", &start_feed)?;

    stage.say("Each is known by name, with the endpoint that is nearest from here:")?;
    for name in ["web", "clock", "feed"] {
        stage.wait_for(name).await?;
    }
    stage.run(&["callsign", "ls"], None).await?;
    stage.run(&["callsign", "resolve", "feed", "--explain", "--probe"], None).await?;

    stage.say("A name is all that it takes to connect:")?;
    stage.run(&["callsign", "connect", "feed"], None).await?;
    stage.run(&["callsign", "connect", "clock"], None).await?;
    stage.run(&["callsign", "connect", "web"], Some("GET / HTTP/1.0\r\n\r\n")).await?;

    stage.say("Somebody watches, and `feed` is killed:")?;
    stage.start("watch", &["callsign", "watch", "feed"])?;
    let line = stage.line_of("watch").await?;
    stage.print(format_args!("{line}\n"))?;
    let seen_gone = kill_feed(stage).await?;
    stage.run(&["callsign", "ls"], None).await?;

    stage.say("It is started again, and found again:")?;
    stage.start("feed", &start_feed)?;
    let line = stage.line_of("watch").await?;
    stage.print(format_args!("{line}\n"))?;
    stage.run(&["callsign", "find", "feed"], None).await?;
    stage.run(&["callsign", "connect", "feed"], None).await?;
    Ok(seen_gone)
}

/// Starts Python's web server, or ours if there is no Python.
async fn start_web(stage: &mut Stage<'_>, loopback: IpAddr) -> Result<(), Failure> {
    let page = stage.folder().join("index.html");
    // A port that is free now. Another program could take it before the server does; none has.
    let port = TcpListener::bind((loopback, 0)).and_then(|it| it.local_addr());
    let address = fs::write(page, PAGE)
        .and(port)
        .map_err(|error| Failure::failed(error).context("cannot set up a web server"))?;
    let (host, port) = (loopback.to_string(), address.port().to_string());
    let endpoint = Endpoint::from(address).to_string();
    let register = ["callsign", "register", "web", &endpoint, "--"];
    let server = if stage.succeeds(&["python3", "-c", "import http.server"]).await {
        ["python3", "-m", "http.server", "--bind", &host, &port].to_vec()
    } else {
        ["callsign", "demo", "--act", "web", &endpoint].to_vec()
    };
    stage.start("web", &[&register[..], &server].concat())
}

/// Kills `feed`, and returns how long it takes until the watcher reports that.
async fn kill_feed(stage: &mut Stage<'_>) -> Result<Duration, Failure> {
    let pid = stage.pid_of("feed");
    stage.prompt(&format!("kill -9 {pid}"))?;
    #[expect(clippy::disallowed_methods, reason = "it is measured here, and nowhere below")]
    let killed = Instant::now();
    stage.kill("feed")?;
    let line = stage.line_of("watch").await?;
    let seen_gone = killed.elapsed();
    if !line.starts_with("- feed") {
        return Err(Failure::failed(anyhow!("the watcher said something else: {line}")));
    }
    stage.bury("feed").await?;
    stage.print(format_args!("{line}\n"))?;
    let seen_gone_ms = seen_gone.as_secs_f64() * 1e3;
    stage.remark(format_args!("seen {seen_gone_ms:.1} ms after the kill"))?;
    Ok(seen_gone)
}

/// The page that the web server shows.
pub(super) const PAGE: &str = "<p>It works.</p>\n";
