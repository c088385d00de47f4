//! Diagnostics of endpoints: their spelling, and conflicts between actors.

use config::read;

use crate::{check, compact};

#[test]
fn too_many_endpoints() {
    let list = |count: usize| (1..=count).map(|it| format!("'/memory/{it}',")).collect::<String>();
    check(&format!("[network]\na = [{}]", list(64)), &[]);
    check(
        &format!("[network]\na = [{}]", list(65)),
        &["«a» 2:1 `a` has 65 endpoints | an actor has at most 64"],
    );
}

#[test]
fn endpoints_are_pointed_into() {
    check(
        "[network]\nfeed = [\n\
         \"/ip4/10.0.0.1/tpc/80\",\n\
         '/uds/run/x',\n\
         \"/ip4/10.0.0.1\",\n\
         \"/unix/r\\u0075n\\u0000\",\n\
         \"\"\"/memory/x\"\"\",\n\
         \"\"]",
        &[
            "«tpc» 3:16 unknown protocol `tpc` in `/ip4/10.0.0.1/tpc/80` \
             | did you mean `/ip4/10.0.0.1/tcp/80`? [2:1 of this actor]",
            "«uds» 4:3 unknown protocol `uds` in `/uds/run/x` \
             | a Unix socket is written `/unix/run/x` [2:1 of this actor]",
            "«» 5:15 no `/tcp/<port>` after the host in `/ip4/10.0.0.1` \
             | add a port: `/ip4/10.0.0.1/tcp/5555` [2:1 of this actor]",
            // Escapes hide the position of the fault, so the whole literal is shown.
            "«\"/unix/r\\u0075n\\u0000\"» 6:1 a NUL in `/unix/run\\u{0}` [2:1 of this actor]",
            "«\"\"\"/memory/x\"\"\"» 7:1 `x` is not a number (0 to 18446744073709551615) \
             in `/memory/x` [2:1 of this actor]",
            "«» 8:2 an endpoint cannot be empty | an endpoint is a multiaddr, such as \
             `/ip4/127.0.0.1/tcp/5555` or `/unix/run/feed.sock` [2:1 of this actor]",
        ],
    );
    let long = format!("[network]\nfeed = \"/unix/run/{}\"", "x".repeat(104));
    let Err(diagnostics) = read(&long, "test.toml") else { panic!("this path cannot be reached") };
    assert!(compact(&diagnostics.0[0]).starts_with(
        "2:15 a file name of 104 bytes at the end of a path of over 107, where 85 can be reached in"
    ));
}

#[test]
fn pairs_are_pointed_into() {
    check(
        "[network]\nfeed = [\n[\"h\", 70000],\n[\"h\", 99999999999999999999],\n[\"a b\", 80],\n\
         [\"127.0.0.1\", \"80\"],\n[\"/run\", \"x\"],\n[\"127.0.0.1\", \"http\"],\n]\n\
         chart = [\"127.0.0.1\", \"80\"]",
        &[
            "«70000» 3:7 70000 is not a port (0 to 65535) [2:1 of this actor]",
            "«99999999999999999999» 4:7 99999999999999999999 is not a port (0 to 65535) \
             [2:1 of this actor]",
            "«a b» 5:3 `a b` is not an IP address or a host name [2:1 of this actor]",
            "«\"80\"» 6:15 the port in [\"127.0.0.1\", \"80\"] is a string, not a number \
             | write it without quotes: [\"127.0.0.1\", 80] [2:1 of this actor]",
            "«\"/run\", \"x\"» 7:2 [\"/run\", \"x\"] is not a [host, port] pair \
             | a Unix socket is written as a multiaddr: \"/unix/<path>\" [2:1 of this actor]",
            "«\"127.0.0.1\", \"http\"» 8:2 [\"127.0.0.1\", \"http\"] is not a [host, port] pair \
             | the port is a number, without quotes [2:1 of this actor]",
            "«\"80\"» 10:23 the port in [\"127.0.0.1\", \"80\"] is a string, not a number \
             | write it without quotes: [\"127.0.0.1\", 80] [10:1 of this actor]",
        ],
    );
}

#[test]
fn a_path_that_swallows_a_protocol() {
    check(
        "[network]\na = [\"/unix/tmp/tcp/80\", '/unix/run/x.sock/tls', \"/unix/tcp/x\",\n\
         \"/unix/%2Ftmp%2Ftcp\", \"/unix/@a/tcp/80\"]",
        &[
            "«tcp» 2:17 warning: `tcp` is taken for a part of the path | if it is one, write \
             `/unix/%2Ftmp%2Ftcp%2F80`; a Unix socket has no `/tcp` [2:1 of this actor]",
            "«tls» 2:44 warning: `tls` is taken for a part of the path | if it is one, write \
             `/unix/%2Frun%2Fx.sock%2Ftls`; a Unix socket has no `/tls` [2:1 of this actor]",
        ],
    );
}

#[test]
fn two_actors_at_one_place() {
    let elsewhere = "give one of them another endpoint; two actors cannot listen at one";
    check(
        "[registrar]\nlisten = \"/unix/run/x\"\n[network]\nfeed = \"/unix/%2Frun%2Fx\"\n\
         chart = [\"/ip4/10.0.0.1/tcp/80\"]\n[declared]\nweb = [[\"10.0.0.1\", 80]]\n",
        &[
            &format!(
                "«/unix/%2Frun%2Fx» 4:9 `/unix/run/x` is claimed by `registrar` and by `feed` \
                 | {elsewhere} [2:11 first claimed here]"
            ),
            &format!(
                "«[\"10.0.0.1\", 80]» 7:8 `/ip4/10.0.0.1/tcp/80` is claimed by `chart` and by `web` \
                 | {elsewhere} [5:11 first claimed here]"
            ),
        ],
    );
    // The fault is at the later entry in the file, not at the later name.
    check(
        "[network]\nz = \"/memory/1\"\na = \"/memory/1\"",
        &[&format!(
            "«/memory/1» 3:6 `/memory/1` is claimed by `z` and by `a` | {elsewhere} \
             [2:6 first claimed here]"
        )],
    );
    check(
        "[network]\na = \"/ip4/0.0.0.0/tcp/80\"\nb = \"/ip4/127.0.0.1/tcp/80\"\n\
         c = \"/ip4/10.0.0.1/tcp/80\"\nd = \"/ip6/::/tcp/80/tls\"\n",
        &[
            "«/ip4/127.0.0.1/tcp/80» 3:6 `/ip4/127.0.0.1/tcp/80` of `b` is the same place as \
             `/ip4/0.0.0.0/tcp/80` of `a` | give one of them another port [2:6 first claimed here]",
            "«/ip4/10.0.0.1/tcp/80» 4:6 warning: `/ip4/10.0.0.1/tcp/80` of `c` and \
             `/ip4/0.0.0.0/tcp/80` of `a` cannot be on one host \
             | if they are, give one of them another port [2:6 first claimed here]",
            "«/ip6/::/tcp/80/tls» 5:6 `/ip6/::/tcp/80/tls` of `d` is the same place as \
             `/ip4/0.0.0.0/tcp/80` of `a` | give one of them another port [2:6 first claimed here]",
        ],
    );
    // Port 0 never conflicts, and the registrar may have an entry of its own.
    check(
        "[registrar]\nlisten = \"/unix/run/r\"\n[network]\nregistrar = \"/unix/run/r\"\n\
         a = \"/ip4/0.0.0.0/tcp/0\"\nb = [[\"0.0.0.0\", 0], [\"127.0.0.1\", 0]]\n",
        &[],
    );
}

#[test]
fn one_actor_twice_at_one_place() {
    check(
        "[network]\na = [\"/unix/run/x\", \"/unix/%2Frun%2Fx\"]\n\
         b = [\"/ip4/0.0.0.0/tcp/1\", \"/ip4/127.0.0.1/tcp/1\"]\n[declared]\na = \"/unix/run/x\"",
        &[
            "«/unix/%2Frun%2Fx» 2:22 warning: `a` has `/unix/run/x` twice \
             | leave it out here; it binds once [2:7 first here]",
            "«/ip4/127.0.0.1/tcp/1» 3:29 warning: `/ip4/127.0.0.1/tcp/1` is the same place as \
             `/ip4/0.0.0.0/tcp/1` of `b` | leave out one of them; it cannot be bound twice \
             [3:7 first here]",
        ],
    );
}

#[test]
fn one_port_for_both_families() {
    // A list may have both wildcards in either order, or an address of one family and the wildcard
    // of the other.
    let pairs = [
        ["/ip4/0.0.0.0/tcp/1616", "/ip6/::/tcp/1616"],
        ["/ip6/::/tcp/1616", "/ip4/0.0.0.0/tcp/1616"],
        ["/ip4/127.0.0.1/tcp/1616", "/ip6/::1/tcp/1616"],
        ["/ip6/::/tcp/1616", "/ip4/127.0.0.1/tcp/1616"],
        ["/ip6/::1/tcp/1616", "/ip4/0.0.0.0/tcp/1616"],
        ["/ip4/0.0.0.0/tcp/0", "/ip6/::/tcp/0"],
    ];
    for [first, second] in pairs {
        check(&format!("[registrar]\nlisten = [\"{first}\", \"{second}\"]\n"), &[]);
        check(&format!("[network]\na = [\"{first}\", \"{second}\"]\n"), &[]);
    }
    // The endpoints of two actors are not one list.
    check(
        "[network]\na = \"/ip4/0.0.0.0/tcp/1\"\nb = \"/ip6/::/tcp/1\"\n",
        &[
            "«/ip6/::/tcp/1» 3:6 `/ip6/::/tcp/1` of `b` is the same place as `/ip4/0.0.0.0/tcp/1` of \
           `a` | give one of them another port [2:6 first claimed here]",
        ],
    );
    // An endpoint that a registrar could not bind is rejected.
    check(
        "[registrar]\nlisten = [\"/ip6/::/tcp/1\", \"/ip4/127.0.0.1/tcp/1\", \"/ip6/::1/tcp/1\"]\n",
        &["«/ip6/::1/tcp/1» 2:53 `/ip6/::1/tcp/1` is the same place as `/ip6/::/tcp/1` of \
           `registrar` | leave out one of them; it cannot be bound twice [2:12 first here]"],
    );
}

#[test]
fn undialable_endpoints_are_not_declared() {
    check(
        "[declared]\na = [\n\"/ip4/0.0.0.0/tcp/80\",\n[\"10.0.0.1\", 0],\n\"/memory/3\",\n]\n\
         [network]\nb = [\"/ip4/0.0.0.0/tcp/81\", \"/ip6/::/tcp/0\", \"/memory/4\"]",
        &[
            "«/ip4/0.0.0.0/tcp/80» 3:2 `/ip4/0.0.0.0/tcp/80` can be bound, but not dialed \
             | write the address at which callers find the actor [2:1 of this actor]",
            "«[\"10.0.0.1\", 0]» 4:1 `/ip4/10.0.0.1/tcp/0` has no port that could be dialed \
             | write the port at which callers find the actor [2:1 of this actor]",
            "«/memory/3» 5:2 `/memory/3` is known only within one process \
             | declare an endpoint that other processes can dial [2:1 of this actor]",
        ],
    );
}
