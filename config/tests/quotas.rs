//! The table `[quotas]`: its meaning, and the diagnostics of faulty ones.

#![expect(clippy::unwrap_used, reason = "a test ends at what it does not expect")]

mod told;

use config::{Quota, QuotaOwner, read};

use self::told::told;

#[test]
fn everybody_has_quotas_and_some_have_their_own() {
    let source = r#"
        [quotas]
        instances = 1000
        bytes = "32MiB"
        [quotas.trusted]
        bytes = "1 GiB"
        [quotas."user:feed"]
        sessions = 100
        waits = 0
        [quotas."address:10.0.0.7"]
        watches = 7
        looks = 16
        cpu = 25
    "#;
    let quotas = read(source, "test.toml").unwrap().0.quotas;
    let others = Quota { instances: Some(1000), bytes: Some(32 << 20), ..Quota::default() };
    assert_eq!(quotas.others, others);
    assert_eq!(quotas.trusted, Quota { bytes: Some(1 << 30), ..Quota::default() });
    let [(QuotaOwner::User(user), own), (QuotaOwner::Address(address), its)] = &quotas.named[..]
    else {
        panic!("{:?}", quotas.named);
    };
    assert_eq!(user.name, "feed");
    assert_eq!(*own, Quota { sessions: Some(100), waits: Some(0), ..Quota::default() });
    assert_eq!(address.to_string(), "10.0.0.7");
    assert_eq!(
        *its,
        Quota { watches: Some(7), looks: Some(16), cpu: Some(25), ..Quota::default() }
    );
    assert_eq!(user.unknown().to_string().lines().count(), 1);
}

#[track_caller]
fn check(table: &str, expected: &[&str]) {
    let found = read(table, "test.toml").unwrap_err();
    assert_eq!(told(&found), expected, "in\n{table}");
}

#[test]
fn invalid_quotas() {
    check(
        "[quotas]\ninstance = 7\nmemory = \"1GiB\"\nlooks = 1025\nsessions = 0\nmoons = 1\n",
        &[
            "2:1 unknown key `instance` in `[quotas]` | did you mean `instances`?",
            "3:1 unknown key `memory` in `[quotas]` | did you mean `bytes`?",
            "4:9 `1025` is out of range for `looks` | it may be from 0 to 1024",
            "5:12 `0` is out of range for `sessions` | it may be from 1 to 1000000",
            "6:1 unknown key `moons` in `[quotas]` | its keys are `sessions`, `instances`, \
             `waits`, `watches`, `looks`, `cpu`, `bytes`",
        ],
    );
    check(
        "[quotas]\nbytes = 64\n[quotas.trusted]\nbytes = \"64MB\"\n\
         [quotas.\"user:a\"]\nbytes = \"lots\"\n[quotas.\"user:b\"]\nbytes = \"1KiB\"\nwaits = \"7\"\n",
        &[
            "2:9 found a number where a size is expected | write the unit: bytes = \"64MiB\"",
            "4:10 `MB` is not a unit of memory | write `64MiB`; the units are KiB, MiB, GiB",
            "6:10 `lots` is not a size | a size is a number and a unit, such as `64MiB` or `1GiB`",
            "8:10 `1KiB` is out of range for `bytes` | it may be from 1MiB to 1024GiB",
            "9:9 found a string where a number is expected | write it without quotes: 7",
        ],
    );
    check(
        "[quotas.feed]\nwaits = 1\n[quotas.\"group:x\"]\n[quotas.\"address:nowhere\"]\n[quotas.\"user:\"]\n",
        &[
            "1:9 `feed` does not say whose quotas these are | write `\"user:feed\"`, or `trusted`",
            "3:10 `group:x` does not say whose quotas these are \
             | write `\"user:root\"`, `\"address:10.0.0.7\"` or `trusted`",
            "4:10 `address:nowhere` does not say whose quotas these are \
             | write `\"user:root\"`, `\"address:10.0.0.7\"` or `trusted`",
            "5:10 `user:` does not say whose quotas these are \
             | write `\"user:root\"`, `\"address:10.0.0.7\"` or `trusted`",
        ],
    );
    check(
        "[quotas.default]\nwaits = 1\n[quotas.others]\n",
        &[
            "1:9 `default` does not say whose quotas these are \
             | write what everybody may use in `[quotas]` itself",
            "3:9 `others` does not say whose quotas these are \
             | write what everybody may use in `[quotas]` itself",
        ],
    );
    check(
        "[quotas]\nbytes = 64MiB\nwaits = lots\n",
        &["2:9 `64MiB` is not in quotes | write \"64MiB\"", "3:9 `lots` is not in quotes | "],
    );
    check("[quota]\nwaits = 7\n", &["1:2 unknown table `[quota]` | did you mean `[quotas]`?"]);
    check("quotas = 7\n", &["1:10 found a number where the table `[quotas]` is expected | "]);
}
