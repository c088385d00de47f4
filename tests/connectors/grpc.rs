//! gRPC by name.

use crate::{
    example,
    harness::{Node, Room, Running},
    python::python,
    until,
};

#[test]
fn a_stream_survives_a_restart_of_its_server_elsewhere() {
    let room = Room::new();
    let node = Node::start(&room);
    let mut watch = example(&node, "grpc", &["watch", node.endpoint()]);
    for place in [room.unix("quotes.sock"), "/ip4/127.0.0.1/tcp/0".to_owned(), room.unix("again")] {
        let server = example(&node, "grpc", &["serve", node.endpoint(), &place]);
        watch.line_with("EURUSD number 1");
        watch.line_with("EURUSD number 3");
        server.kill();
        watch.line_with("the stream has ended: ");
        until(&node, "quotes", 0);
    }
}

#[test]
fn grpcio_calls_with_the_name_as_authority_and_is_refused_without() {
    let Some(python) = python() else { return };
    let room = Room::new();
    let node = Node::start(&room);
    let _server = example(&node, "grpc", &["serve", node.endpoint(), &room.unix("quotes.sock")]);
    until(&node, "quotes", 1);
    let socket = room.file("quotes.sock").display().to_string();
    let call = |authority: &str| {
        let mut command = room.other_command(&python);
        command.args(["-c", CALL, &socket, authority]);
        Running::start(command).outcome().succeeds()
    };
    call("quotes").prints(&["EURUSD"]);
    // The path, percent-encoded: a protocol error, before the server's own code sees it.
    call("").prints(&["INTERNAL"]);
}

#[test]
fn a_server_of_grpcio_is_reached_by_its_name() {
    let Some(python) = python() else { return };
    let room = Room::new();
    let node = Node::start(&room);
    let socket = room.file("quotes.sock").display().to_string();
    let place = room.unix("quotes.sock");
    let command = ["register", "quotes", &place, "--", &python, "-c", SERVE, &socket];
    let _server = node.run(&command);
    let mut watch = example(&node, "grpc", &["watch", node.endpoint()]);
    // It quotes the authority of the call.
    watch.line_with("quotes number 7");
}

/// The wire format of the messages is simple enough to be written by hand.
const CALL: &str = r#"
import sys, grpc
options = [("grpc.default_authority", sys.argv[2])] if sys.argv[2] else []
with grpc.insecure_channel("unix:" + sys.argv[1], options=options) as channel:
    watch = channel.unary_stream("/market.Quotes/Watch")
    try:
        print(next(watch(b"\x0a\x06EURUSD", timeout=240))[2:8].decode())
    except grpc.RpcError as error:
        print(error.code().name)
"#;

const SERVE: &str = r#"
import sys, grpc
from concurrent.futures import ThreadPoolExecutor

class Quotes(grpc.GenericRpcHandler):
    def service(self, call):
        return grpc.unary_stream_rpc_method_handler(self.watch)

    def watch(self, request, context):
        host = context._rpc_event.call_details.host
        yield b"\x0a" + bytes([len(host)]) + host + b"\x10\x07"

server = grpc.server(ThreadPoolExecutor(2), handlers=[Quotes()])
server.add_insecure_port("unix:" + sys.argv[1])
server.start()
server.wait_for_termination()
"#;
