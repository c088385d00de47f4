//! Strangers at the door for DNS.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream, UdpSocket},
};

use crate::{
    harness::{LIMIT, Node, Room, now},
    stays_as_it_was,
};

/// Lets strangers loose on a node, while a good client asks on.
#[track_caller]
fn endure(strangers: impl Fn(SocketAddr)) {
    let room = Room::new();
    let settings = "[registrar]\nsettle_time = \"0s\"\n[dns]\nlisten = \"127.0.0.1:0\"\n\
                    [declared]\nweb = \"/ip4/192.0.2.8/tcp/80\"\n";
    let settings = room.write("callsign.toml", settings);
    let patience = ["--config", &*settings, "--handshake-timeout", "2s"];
    let node = Node::start_with(&room, &[&room.unix("registrar.sock")], &patience);
    let ended = stays_as_it_was(node, 1, |node| {
        strangers(node.dns());
        asked(node.dns());
    });
    assert_eq!(ended.stderr, "", "a stranger is nothing to tell of\n{ended}");
}

/// Asks for what is there, and checks the answer.
#[track_caller]
fn asked(server: SocketAddr) {
    let socket = socket();
    let deadline = now() + LIMIT;
    let mut answer = [0; 512];
    // A datagram may be lost among those of others.
    let length = loop {
        socket.send_to(&question(WEB), server).unwrap();
        if let Ok(length) = socket.recv(&mut answer) {
            break length;
        }
        assert!(now() < deadline, "nobody answers any more");
    };
    assert_eq!(answer[length - 4..length], [192, 0, 2, 8]);
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
    socket
}

const WEB: &[u8] = b"\x03web\x08callsign\0\0\x01\0\x01";

/// Puts a header before a question.
fn question(name: &[u8]) -> Vec<u8> {
    [&[0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0], name].concat()
}

/// Messages that are none, or not what they say.
fn corpus() -> Vec<(&'static str, Vec<u8>)> {
    let header = |counts: [u8; 4], rest: &[u8]| {
        let [questions, answers, authorities, additionals] = counts;
        let head = [0, 7, 1, 0, 0, questions, 0, answers, 0, authorities, 0, additionals];
        [&head[..], rest].concat()
    };
    let one = |rest: &[u8]| header([1, 0, 0, 0], rest);
    // From its twelfth byte on there are names.
    let chain: Vec<u8> = (0..120_u8).flat_map(|it| [0xc0, 14 + 2 * it]).collect();
    let labels = b"\x01x".repeat(130);
    let long_label = [&[63][..], &[b'x'; 63]].concat().repeat(4);
    let edns = |data: &[u8]| {
        let record =
            [&[0, 0, 41, 4, 208, 0, 0, 0, 0][..], &(data.len() as u16).to_be_bytes(), data];
        header([1, 0, 0, 1], &[WEB, &record.concat()].concat())
    };
    let garbage: Vec<u8> =
        (0..4000_u32).map(|it| (it.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut corpus = vec![
        ("nothing", vec![]),
        ("half a header", vec![0, 7, 1, 0, 0, 1]),
        ("a header alone", header([0; 4], b"")),
        ("a header that says more", one(b"")),
        ("an answer", [&[0, 7, 0x81, 0][..], &question(WEB)[4..]].concat()),
        ("a name that refers to itself", one(b"\xc0\x0c\0\x01\0\x01")),
        ("two names that refer to each other", one(b"\x01a\xc0\x10\xc0\x0c\0\x01\0\x01")),
        ("a name that refers ahead", one(b"\xc0\x20\0\x01\0\x01")),
        ("a name that refers behind the end", one(b"\xff\xff\0\x01\0\x01")),
        ("a name that refers into the header", one(b"\xc0\0\0\x01\0\x01")),
        ("a long chain of references", one(&[&chain[..], b"\0\0\x01\0\x01"].concat())),
        ("a name without an end", one(b"\x03web\x08calls")),
        ("a label of another kind", one(b"\x40abc\0\0\x01\0\x01")),
        ("a label of a kind kept free", one(b"\x80abc\0\0\x01\0\x01")),
        ("too many labels", one(&[&labels[..], b"\0\0\x01\0\x01"].concat())),
        ("a name that is too long", one(&[&long_label[..], b"\0\0\x01\0\x01"].concat())),
        ("a name of zero bytes", one(b"\x03\0\0\0\x08callsign\0\0\x01\0\x01")),
        ("a name that is no UTF-8", one(b"\x02\xff\xfe\x08callsign\0\0\x01\0\x01")),
        ("an escape that ends too soon", one(b"\x03a_4\x08callsign\0\0\x01\0\x01")),
        ("no class", one(b"\x03web\x08callsign\0\0\x01")),
        ("an unknown type", one(b"\x03web\x08callsign\0\xff\xfe\0\x01")),
        ("an unknown class", one(b"\x03web\x08callsign\0\0\x01\xff\xfe")),
        ("two questions", header([2, 0, 0, 0], &[WEB, WEB].concat())),
        ("255 questions that are not there", header([255, 0, 0, 0], WEB)),
        ("answers in a question", header([1, 255, 255, 255], WEB)),
        (
            "a record that is longer than all",
            header([1, 1, 0, 0], &[WEB, b"\0\0\x01\0\x01\0\0\0\0\xff\xff"].concat()),
        ),
        (
            "EDNS twice",
            header([1, 0, 0, 2], &[WEB, &[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0].repeat(2)].concat()),
        ),
        ("EDNS with an option that is longer than all", edns(&[0, 8, 255, 255])),
        ("EDNS with a broken option", edns(&[0])),
        (
            "EDNS of a later version",
            header([1, 0, 0, 1], &[WEB, &[0, 0, 41, 4, 208, 0, 9, 0, 0, 0, 0]].concat()),
        ),
        ("a transfer", question(b"\x08callsign\0\0\xfc\0\x01")),
        ("an update", [&[0, 7, 0x28, 0][..], &question(WEB)[4..]].concat()),
        ("a notice", [&[0, 7, 0x20, 0][..], &question(WEB)[4..]].concat()),
        ("all bits", vec![0xff; 512]),
        ("garbage", garbage),
    ];
    corpus.extend(
        (0..question(WEB).len()).map(|it| ("a part of a question", question(WEB)[..it].to_vec())),
    );
    corpus
}

#[test]
fn malformed_messages_cost_an_answer_at_most() {
    endure(|server| {
        let socket = socket();
        for (what, bytes) in corpus() {
            println!("UDP: {what}");
            socket.send_to(&bytes, server).unwrap();
            // The next good question is answered, whatever was said to this.
            asked(server);
        }
        // What was said to them was said to this socket, and is no more than was asked.
        socket.set_nonblocking(true).unwrap();
        let (mut answer, mut answers) = ([0; 4096], 0);
        while let Ok(length) = socket.recv(&mut answer) {
            assert!(length >= 12 && answer[2] & 0x80 != 0, "it is an answer");
            answers += 1;
        }
        assert!((1..=corpus().len()).contains(&answers), "{answers}");

        for (what, bytes) in corpus() {
            println!("TCP: {what}");
            let mut stranger = TcpStream::connect(server).unwrap();
            stranger.set_read_timeout(Some(LIMIT)).unwrap();
            let framed = [&(bytes.len() as u16).to_be_bytes()[..], &bytes].concat();
            drop(stranger.write_all(&framed));
            drop(stranger.shutdown(Shutdown::Write));
            let mut said = Vec::new();
            let read = stranger.read_to_end(&mut said);
            let kind = read.map_err(|it| it.kind());
            assert!(matches!(kind, Ok(_) | Err(std::io::ErrorKind::ConnectionReset)), "{kind:?}");
            asked(server);
        }
    });
}

#[test]
fn messages_that_never_finish_are_cut() {
    endure(|server| {
        let beginnings: [&[u8]; 4] = [b"", b"\0", b"\xff\xff", b"\0\x40\0\x07\x01"];
        let open = |at: usize| {
            let mut stranger = TcpStream::connect(server).unwrap();
            stranger.set_read_timeout(Some(LIMIT)).unwrap();
            stranger.write_all(beginnings[at % 4]).unwrap();
            stranger
        };
        let strangers: Vec<_> = (0..60).map(open).collect();
        asked(server);
        for mut stranger in strangers {
            // It says a byte more, and is cut nevertheless.
            drop(stranger.write_all(b"\0"));
            let end = stranger.read(&mut [0; 512]).map_err(|it| it.kind());
            assert!(matches!(end, Ok(0) | Err(std::io::ErrorKind::ConnectionReset)), "{end:?}");
        }
    });
}

#[test]
fn ten_thousand_connections_keep_nobody_from_asking() {
    endure(|server| {
        let mut crowd = Vec::new();
        for at in 0..10_000 {
            let Ok(one) = TcpStream::connect(server) else { break };
            crowd.push(one);
            if at % 500 == 0 {
                asked(server);
            }
        }
        assert!(crowd.len() > 2_000, "only {} could connect", crowd.len());
        asked(server);
    });
}
