//! Writers below the prefix that are broken: what they write is left out, and nobody suffers from it.

use std::time::Duration;

use tokio::time::timeout;
use uuid::Uuid;

use crate::{
    etcd::Etcd,
    node::{LIMIT, Node, register},
};

/// A value within so many arrays.
fn deep(levels: usize) -> Vec<u8> {
    [vec![0x91; levels], vec![0xc0]].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_used_is_counted_and_left_out() {
    let Some(etcd) = Etcd::start(1).await else { return };
    let oslo = Node::start("oslo", etcd.endpoints()).await;
    // Of what was there before, it sees the last alone.
    oslo.until_connected().await;
    let client = oslo.client();
    register(&client, "feed", 1);
    let uuid = Uuid::from_u128(7);
    // A map with names that are no node's, and one that is nested beyond what is read.
    let later: &[u8] = b"\x81\xa7version\xcd\x03\xe7";
    let long = vec![0xc0; 1024 * 1024];
    let values: &[(&str, &[u8])] = &[
        ("/callsign/nodes/strange", later),
        ("/callsign/nodes/strange", &long),
        ("/callsign/nodes/strange", &deep(100_000)),
        ("/callsign/nodes/strange", b""),
        (&format!("/callsign/records/strange/{uuid}"), later),
        (&format!("/callsign/records/strange/{uuid}"), &long),
        (&format!("/callsign/records/strange/{uuid}"), &deep(100_000)),
        (&format!("/callsign/records/strange/{uuid}"), b"\xff\xff\xff\xff"),
    ];
    let others: &[(&str, &[u8])] = &[
        ("/callsign/ended/strange", &deep(100_000)),
        ("/callsign/names/leader", &deep(100_000)),
        ("/callsign/slots/999999999999999999999999", b"x"),
        ("/callsign/slots/", &long),
        ("/callsign/records/x/y/z", &long),
        ("/callsign/later/x", &long),
    ];
    for (key, value) in values.iter().chain(others) {
        etcd.put(key, value).await;
    }
    oslo.until(|it| it.faulty == values.len() as u64 && it.error.is_none()).await;
    assert_eq!(oslo.find("feed").len(), 1);

    // One that comes later finds the last of each, and shares nevertheless.
    let rome = Node::start("rome", etcd.endpoints()).await;
    rome.until(|it| it.error.is_none() && it.faulty == 2).await;
    while rome.find("feed").is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Sixty-four MiB of them are more than one answer may have.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_long_values_keep_nobody_from_connecting() {
    let Some(etcd) = Etcd::start(1).await else { return };
    let long = vec![0xc0; 1024 * 1024];
    for number in 0..80_u128 {
        let uuid = Uuid::from_u128(number);
        etcd.put(&format!("/callsign/records/strange/{uuid}"), &long).await;
    }
    let rome = Node::start("rome", etcd.endpoints()).await;
    let connected = rome.until(|it| it.error.is_none() && it.faulty == 80);
    timeout(LIMIT, connected).await.unwrap();
}
