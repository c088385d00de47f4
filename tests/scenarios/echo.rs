//! An echo actor.

use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener, UnixStream},
    },
    thread,
};

use endpoints::{Endpoint, UnixAddress};

use crate::harness::tcp_address;

/// Starts an actor that echoes to one caller. Returns the endpoint with its real port.
pub(crate) fn listen(endpoint: &str) -> io::Result<String> {
    match endpoint.parse().unwrap() {
        Endpoint::Unix(UnixAddress::Path(path)) => {
            serve_unix(UnixListener::bind(path.as_path())?);
            Ok(endpoint.to_owned())
        }
        Endpoint::Unix(UnixAddress::Abstract(name)) => {
            let address = SocketAddr::from_abstract_name(name.as_bytes())?;
            serve_unix(UnixListener::bind_addr(&address)?);
            Ok(endpoint.to_owned())
        }
        Endpoint::Tcp(_) => {
            let listener = TcpListener::bind(tcp_address(endpoint))?;
            let port = listener.local_addr()?.port();
            thread::spawn(move || -> io::Result<()> {
                let (stream, _) = listener.accept()?;
                echo(&stream, |it: &TcpStream| it.shutdown(std::net::Shutdown::Write))
            });
            Ok(endpoint.replace("/tcp/0", &format!("/tcp/{port}")))
        }
        other => panic!("nobody listens at {other} here"),
    }
}

fn serve_unix(listener: UnixListener) {
    thread::spawn(move || -> io::Result<()> {
        let (stream, _) = listener.accept()?;
        echo(&stream, |it: &UnixStream| it.shutdown(std::net::Shutdown::Write))
    });
}

/// Reads a caller's input to its end, and sends all of it back.
fn echo<S>(stream: &S, end: impl Fn(&S) -> io::Result<()>) -> io::Result<()>
where
    for<'a> &'a S: Read + Write,
{
    let mut heard = Vec::new();
    let mut stream_half = stream;
    stream_half.read_to_end(&mut heard)?;
    stream_half.write_all(&[b"echo: ", &heard[..]].concat())?;
    end(stream)
}
