//! Registrations where other users listen.

use std::{
    env,
    io::{BufRead, BufReader},
    net::TcpListener,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener},
    },
    process::{Child, Command, Stdio},
};

use callsign_discovery::{Registration, RegistrationError};
use wire::State;

/// Runs one test of this program as another user.
fn as_user(uid: u32, test: &str, places: &str) -> Child {
    let mut command = Command::new("setpriv");
    command.arg(format!("--reuid={uid}")).args(["--regid=4711", "--clear-groups"]);
    command.arg(env::current_exe().unwrap()).args(["--exact", "--nocapture", test]);
    command.env(PLACES, places).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

const PLACES: &str = "CALLSIGN_TEST_PLACES";

#[test]
fn another_users_listener_is_registered_by_nobody_but_root() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: it takes root to be other users");
        return;
    }
    let mut other = as_user(4712, "others::listens", "");
    let mut said = BufReader::new(other.stdout.take().unwrap()).lines().map_while(Result::ok);
    let theirs = said.find_map(|it| Some(it.strip_prefix("at ")?.to_owned())).unwrap();
    // Of root, of nobody, and of another user: those of root are taken for everybody's.
    let own = TcpListener::bind("127.0.0.1:0").unwrap();
    let roots = format!("/ip4/127.0.0.1/tcp/{}", own.local_addr().unwrap().port());
    let places = format!("{roots} /unix/@nobody-has-this-name {theirs}");
    let registered = as_user(4711, "others::registers", &places).wait_with_output().unwrap();
    assert!(registered.status.success(), "{}", String::from_utf8_lossy(&registered.stdout));
    for place in theirs.split(' ') {
        Registration::new("feed").endpoint(place).unwrap().check().unwrap();
    }
    drop(other.stdin.take());
    said.for_each(drop);
    assert!(other.wait().unwrap().success());
}

#[test]
fn listens() {
    let Ok(places) = env::var(PLACES) else { return };
    assert_eq!(places, "");
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = tcp.local_addr().unwrap().port();
    let name = format!("others-{port}");
    let _unix = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    println!("\nat /ip4/127.0.0.1/tcp/{port} /unix/@{name}");
    std::io::stdin().lines().for_each(drop);
}

#[test]
fn registers() {
    let Ok(places) = env::var(PLACES) else { return };
    for (at, place) in places.split(' ').enumerate() {
        let feed = Registration::new("feed").endpoint(place).unwrap();
        let checked = feed.clone().check();
        match at {
            0 | 1 => checked.unwrap(),
            _ => {
                let Err(RegistrationError::OthersListener { endpoint, user }) = checked else {
                    panic!("{place}: {checked:?}");
                };
                assert_eq!((endpoint.to_string().as_str(), user), (place, 4712));
                // It is not led to yet, or proves that it is another.
                feed.clone().state(State::Starting).check().unwrap();
                feed.proves().check().unwrap();
            }
        }
    }
}
