//! Rules of names that change while instances have them.

use std::fs;

use crate::harness::{Node, Room, Running};

/// Starts a node without rules, which its file's changes bring at a reload.
fn node<'room>(room: &'room Room, settle_time: &str) -> Node<'room> {
    let file = room.write("market.toml", "[names]\n");
    let words = ["--config", &file, "--settle-time", settle_time];
    Node::start_with(room, &[&room.unix("registrar.sock")], &words)
}

fn rule(node: &mut Node<'_>, rules: &str) {
    fs::write(node.room().file("market.toml"), format!("[names]\n{rules}\n")).unwrap();
    node.reload("has been read again");
}

/// Registers an instance whose program says so once it runs.
fn run(node: &Node<'_>, name: &str, place: &str, wait: &[&str]) -> Running {
    let program = ["--", "sh", "-c", "echo runs by $CALLSIGN_TOKEN; exec sleep 1000"];
    let place = node.room().abstract_unix(place);
    node.run(&[&["-v", "register", name, &place], wait, &program].concat())
}

/// Waits until the records of a name are as expected.
fn comes_to(node: &Node<'_>, name: &str, what: &str, is_it: impl Fn(&serde_json::Value) -> bool) {
    node.run(&["watch", name, "--json"]).json(what, is_it);
}

#[test]
fn a_holder_from_before_the_rule_gets_its_name_back_before_a_waiter() {
    for (name, exclusive) in
        [("boss", "boss = { exclusive = true }"), ("b.1", "'b*' = { exclusive = true }")]
    {
        let room = Room::new();
        let mut node = node(&room, "1m");
        let mut first = run(&node, name, "one", &[]);
        first.line_with("runs by");
        rule(&mut node, exclusive);
        first.says("it has another token");
        let found = node.callsign(&["find", name, "--all", "--json"]).succeeds().json();
        let token = found[0]["token"].clone();
        assert!(token.is_number(), "{found}");
        let second = run(&node, name, "two", &["--wait"]);
        comes_to(&node, name, "the waiter", |it| it["waiting"] == 1);
        node.callsign(&["find", name, "--all"]).prints(&["1 in line", &token.to_string()]);

        let node = node.restart();
        comes_to(&node, name, "its return", |it| it["token"] == token);
        comes_to(&node, name, "the waiter again", |it| it["waiting"] == 1);
        let waited = second.stop();
        assert!(!waited.stdout.contains("runs by"), "{waited}");
        first.stop();
    }
}

#[test]
fn of_several_holders_the_last_gets_a_token_and_without_the_rule_it_is_gone() {
    let room = Room::new();
    let mut node = node(&room, "0s");
    let mut holders = ["one", "two"].map(|it| run(&node, "boss", it, &[]));
    holders.iter_mut().for_each(|it| drop(it.line_with("runs by")));
    rule(&mut node, "boss = { exclusive = true }");
    node.says("several instances have a name that is exclusive now");
    let third = run(&node, "boss", "three", &["--wait"]);
    comes_to(&node, "boss", "the waiter", |it| it["waiting"] == 1 && it["token"].is_null());
    let [one, mut two] = holders;
    one.stop();
    two.says("it has another token");
    comes_to(&node, "boss", "the last", |it| it["waiting"] == 1 && it["token"].is_number());
    rule(&mut node, "boss = {}");
    two.says("it has another token");
    // It was to have the name alone, and may not.
    third.outcome().ends_with(2).says(&["`boss` is not exclusive"]);
    let found = node.callsign(&["find", "boss", "--all", "--json"]).succeeds().json();
    assert!(found.as_array().unwrap().iter().all(|it| it["token"].is_null()), "{found}");
    rule(&mut node, "'*' = { exclusive = true }");
    two.says("it has another token");
    two.stop();
}
