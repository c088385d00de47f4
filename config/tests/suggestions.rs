//! A corrected file as proposed by a help has no further fault.

use config::{
    Diagnostic, Diagnostics, Layer, Overrides, Settings, Severity, overlay, read, registrars,
};

fn diagnostics(source: &str) -> Vec<Diagnostic> {
    match read(source, "test.toml") {
        Ok((_, warnings)) => warnings.0,
        Err(diagnostics) => diagnostics.0,
    }
}

/// Returns the values that a help proposes for `key`, as TOML.
fn proposed(help: &str, key: &str) -> Vec<String> {
    let template = |it: &String| it.contains('<');
    let are_examples = ["an endpoint is a multiaddr", "write where it listens, such as "];
    if are_examples.iter().any(|it| help.starts_with(it)) {
        return Vec::new();
    }
    let ways = ["write a list: ", "write it without quotes: ", "write the unit: ", "write "];
    let written = ways.iter().find_map(|way| help.strip_prefix(way));
    let is_value = |it: &&str| !it.starts_with('`') && !it.starts_with("the ");
    if let Some(written) = written.filter(is_value) {
        let value = written.strip_prefix(&format!("{key} = ")).unwrap_or(written);
        return Some(value.to_owned()).into_iter().filter(|it| !template(it)).collect();
    }
    let quoted = help.split('`').skip(1).step_by(2).map(|it| format!("\"{it}\""));
    quoted.filter(|it| !template(it) && it != "\"..\"").collect()
}

/// Writes each value after `key` in a table, and then the proposed value.
#[track_caller]
fn check(table: &str, key: &str, value: &str, expected: &[&str]) {
    let write = |value: &str| format!("[{table}]\n{key} = {value}\n");
    let found = diagnostics(&write(value));
    assert_eq!(found.len(), 1, "{value}: {found:?}");
    let help = found[0].help.clone().unwrap_or_default();
    let proposed = proposed(&help, key);
    for value in &proposed {
        assert_eq!(diagnostics(&write(value)), [], "{help}");
    }
    assert_eq!(proposed, expected, "for {value}: {help}");
}

#[test]
fn endpoints_in_every_shape() {
    let check = |value: &str, expected: &[&str]| check("network", "a", value, expected);
    check("5432", &["[\"127.0.0.1\", 5432]"]);
    check("[5432]", &["[\"127.0.0.1\", 5432]"]);
    check("70000", &[]);
    check("{ host = \"127.0.0.1\", port = 80 }", &["[\"127.0.0.1\", 80]"]);
    check("[{ Host = 'db', Port = \"80\" }]", &["[\"db\", 80]"]);
    check("{ ip = \"fe80::1%eth0\", port = 80 }", &["\"/ip6zone/eth0/ip6/fe80::1/tcp/80\""]);
    check("{ port = 80 }", &["[\"127.0.0.1\", 80]"]);
    check("{ path = \"/run/feed.sock\" }", &["\"/unix/run/feed.sock\""]);
    check("{ url = \"tcp://db:80\" }", &["\"/dns/db/tcp/80\""]);
    check("{ address = \"10.0.0.1:80\" }", &["\"/ip4/10.0.0.1/tcp/80\""]);
    check("{ host = \"a b\", port = 80 }", &[]);
    check("{ host = \"db\", port = 70000 }", &[]);
    check("{ name = \"db\" }", &[]);
    check("[\"fe80::1%eth0\", 80]", &["\"/ip6zone/eth0/ip6/fe80::1/tcp/80\""]);
    check("[[\"[::1]\", 80]]", &["\"/ip6/::1/tcp/80\""]);
    check("[\"10.0.0.1\", \"80\"]", &["[\"10.0.0.1\", 80]"]);
    check("[\"fe80::1%eth0\", \"80\"]", &["\"/ip6zone/eth0/ip6/fe80::1/tcp/80\""]);
    check("[\"a b\", \"80\"]", &[]);
    check("\"db:5432\"", &["\"/dns/db/tcp/5432\""]);
    check("\":8080\"", &["\"/ip4/127.0.0.1/tcp/8080\""]);
    check("\"/ip4/127.0.0.1\"", &["\"/ip4/127.0.0.1/tcp/5555\""]);
    check("\"mem/7\"", &[]);
    // Without quotes.
    check("/unix/run/feed.sock", &["\"/unix/run/feed.sock\""]);
    check("/run/feed.sock", &["\"/unix/run/feed.sock\""]);
    check("localhost:80", &["\"/dns/localhost/tcp/80\""]);
    check("web", &[]);
}

/// A key of its own table is proposed with the table in which it belongs.
#[test]
fn the_endpoints_below_a_header_belong_in_the_table_above() {
    let check = |table: &str, body: &str, proposed: &str| {
        let found = diagnostics(&format!("[{table}.a]\n{body}\n"));
        assert_eq!(found.len(), 1, "{body}: {found:?}");
        let help = found[0].help.clone().unwrap();
        let (place, line) = help.split_once(": ").or(help.split_once(", such as ")).unwrap();
        assert!(place.starts_with(&format!("write in `[{table}]`")), "{help}");
        assert_eq!(line, proposed, "{help}");
        assert_eq!(diagnostics(&format!("[{table}]\n{line}\n")), []);
    };
    check("network", "endpoint = \"/unix/@a\"", "a = \"/unix/@a\"");
    check("declared", "host = \"db\"\nport = 80", "a = [\"db\", 80]");
    check("network", "is_there = true", "a = \"/ip4/127.0.0.1/tcp/5555\"");
    for table in ["network", "declared"] {
        let found = diagnostics(&format!("[{table}]\na = true\n"));
        let help = found[0].help.clone().unwrap();
        let line = help.strip_prefix("write where it listens, such as ").unwrap();
        assert_eq!(diagnostics(&format!("[{table}]\n{line}\n")), []);
    }
}

#[test]
fn hosts_keep_their_ports_in_every_order() {
    let check = |value: &str, expected: &[&str]| check("network", "a", value, expected);
    check("[80, \"10.0.0.1\"]", &["[\"10.0.0.1\", 80]"]);
    check("[\"80\", \"db\"]", &["[\"db\", 80]"]);
    check("[[80, \"::1\"]]", &["[\"::1\", 80]"]);
    check("[[80, \"[::1]\"]]", &["\"/ip6/::1/tcp/80\""]);
    check("[\"10.0.0.1\", 80, 81]", &["[[\"10.0.0.1\", 80], [\"10.0.0.1\", 81]]"]);
    check("[\"db\", [80, 81]]", &["[[\"db\", 80], [\"db\", 81]]"]);
    check("[\"a\", 80, \"b\", 81]", &["[[\"a\", 80], [\"b\", 81]]"]);
    check("[80, \"a\", 81, \"b\"]", &["[[\"a\", 80], [\"b\", 81]]"]);
    // The owner of that port is unknown.
    check("[\"tcp\", \"10.0.0.1\", 80]", &[]);
    check("[[\"10.0.0.1\", 80], 81]", &[]);
    check("[80, \"/ip4/10.0.0.1/tcp/80\"]", &[]);
    check("[80, \"a b\"]", &[]);
    check("[\"10.0.0.1\", 80.5]", &[]);
    check("{ path = \"/run/x.sock\", port = 80 }", &[]);
    check("{ host = \"db\", ports = [80] }", &[]);
    check("{ host = \"db\", port = 80, proto = \"udp\" }", &[]);
    check("{ host = \"10.0.0.1\" }", &[]);
    check("{ tcp = \"db:80\" }", &["\"/dns/db/tcp/80\""]);
    check("{ tcp = 80 }", &["[\"127.0.0.1\", 80]"]);
}

#[test]
fn several_endpoints_make_a_list() {
    let check = |value: &str, expected: &str| {
        check("network", "a", value, &[expected]);
        check("registrar", "listen", value, &[expected]);
    };
    check("\"/unix/a,/unix/b\"", "[\"/unix/a\", \"/unix/b\"]");
    check("'/unix/@a; /unix/@b'", "[\"/unix/@a\", \"/unix/@b\"]");
    check("\"10.0.0.1:80,db:81\"", "[\"/ip4/10.0.0.1/tcp/80\", \"/dns/db/tcp/81\"]");
    let both = "[\"/ip4/10.0.0.1/tcp/80\", \"/ip4/10.0.0.1/tcp/81\"]";
    check("\"/ip4/10.0.0.1/tcp/80,81\"", both);
}

#[test]
fn addresses_that_lead_nowhere_are_reported_in_every_setting() {
    let hosts = [
        ("ip6/fe80::1", "write `/ip6zone/<interface>/ip6/fe80::1/tcp/80`"),
        ("ip6/ff02::1", "write the address of one host"),
        ("ip4/224.0.0.1", "write the address of one host"),
        ("ip4/255.255.255.255", "write the address of one host"),
        ("ip4/0.0.0.9", "write the address of one host"),
    ];
    for (host, help) in hosts {
        let ip = host.split('/').nth(1).unwrap();
        for (table, key) in [("network", "a"), ("declared", "a"), ("registrar", "listen")] {
            for value in [format!("\"/{host}/tcp/80\""), format!("[[\"{ip}\", 80]]")] {
                let found = diagnostics(&format!("[{table}]\n{key} = {value}\n"));
                let help_of = |it: &Diagnostic| it.help.clone().unwrap_or_default();
                assert_eq!(found.iter().map(help_of).collect::<Vec<_>>(), [help], "{value}");
                assert_eq!(found[0].severity, Severity::Error, "{value}");
            }
        }
        for named in [format!("/{host}/tcp/80"), format!("/{host}/tcp/80 /unix/@a")] {
            let errors = registrars(&[], Some(&named), &[], "/run".as_ref()).unwrap_err();
            assert_eq!(errors.0.len(), 1, "{named}: {errors}");
        }
        let listen = vec![format!("/{host}/tcp/80")];
        let flags = Overrides { listen, ..Overrides::none(Layer::Flags) };
        assert!(overlay(Settings::default(), &[flags]).is_err(), "{host}");
    }
}

#[test]
fn a_registrar_is_told_where_it_cannot_listen() {
    let check = |table: &str, key: &str, value: &str, expected: &str| {
        let found = diagnostics(&format!("[{table}]\n{key} = \"{value}\"\n"));
        let messages: Vec<_> = found.iter().map(|it| it.message.as_str()).collect();
        assert_eq!(messages, [expected], "{value}");
    };
    let alone = "`/memory/7` can be reached from within the same process alone";
    check("registrar", "listen", "/memory/7", alone);
    let unknown = "`/memory/0` gets a number that is not known in advance";
    check("network", "a", "/memory/0", unknown);
    check("network", "a", "/memory/00", unknown);
}

#[test]
fn unlikely_values_are_reported() {
    let check = |value: &str, expected: &str| {
        let found = diagnostics(&format!("[network]\na = '{value}'\n"));
        let messages: Vec<_> = found.iter().map(|it| it.message.as_str()).collect();
        assert!(messages.len() == 1 && messages[0].contains(expected), "{value}: {messages:?}");
        assert_eq!(found[0].severity, Severity::Warning, "{value}");
        // An address at which nobody can listen is not for dialing.
        let errors = registrars(&[value.to_owned()], None, &[], "/run".as_ref()).unwrap_err();
        assert!(errors.to_string().contains(expected), "{value}: {errors}");
    };
    check("/unix/~/x.sock", "nothing is substituted");
    check("/unix/$XDG_RUNTIME_DIR/x.sock", "nothing is substituted");
    check("/unix/run/$(id -u)/x.sock", "nothing is substituted");
    check("/unix/%t/x.sock", "nothing is substituted");
    check("/unix/run/<uid>/x.sock", "nothing is substituted");
    check("/unix/run/x.sock,", "is taken for a part of the path");
    check("/unix/run/x.sock/tcp/80", "is taken for a part of the path");
    check(r"/unix/C:\run\x.sock", "is taken for a part of a name");
}

#[test]
fn proposals_keep_the_written_parts() {
    let hosts = ["10.0.0.1", "db", "localhost", "::1", "[::1]", "fe80::1%eth0", "0.0.0.0", "*"];
    let shapes = [
        "[\"{h}\", 80]",
        "[80, \"{h}\"]",
        "[\"80\", \"{h}\"]",
        "[\"{h}\", \"80\"]",
        "[[\"{h}\", 80]]",
        "[[80, \"{h}\"]]",
        "[[\"80\", \"{h}\"]]",
        "\"{h}:80\"",
        "[\"{h}:80\"]",
        "\"80:{h}\"",
        "\"{h} 80\"",
        "\"{h}/80\"",
        "[\"{h}\", [80]]",
        "[\"{h}\", 80, 81]",
        "[80, 81, \"{h}\"]",
        "[\"tcp\", \"{h}\", 80]",
        "[[\"{h}\", 80], 81]",
        "{ \"{h}\" = 80 }",
        "[\"{h}\", \"http\"]",
        "{ host = \"{h}\", port = 80 }",
        "{ port = \"80\", ip = \"{h}\" }",
        "[\"{h}\", 80.0]",
        "{ host = \"{h}\", ports = [80] }",
        "{ tcp = \"{h}:80\" }",
        "{ url = \"tcp://{h}:80\" }",
        "[\"{h}\", 80, \"{h}\", 81]",
        "\"tcp://{h}:80\"",
        "\"http://{h}:80/\"",
        "\"redis://{h}:80/0\"",
        "\"fd://80\"",
        "\"udp://{h}:80\"",
        "\"ws://{h}:80\"",
        "\"inproc://{h}\"",
        "{h}:80",
        "tcp://{h}:80",
        "[\"{h}\", true]",
        "[\"{h}\", 0]",
        "{ host = \"{h}\", port = 0 }",
        "80",
        "[80]",
        "[80, 81]",
    ];
    let tables = [("network", "a"), ("declared", "a"), ("registrar", "listen")];
    for ((table, key), shape) in tables.iter().flat_map(|it| shapes.map(|shape| (*it, shape))) {
        for host in hosts {
            let value = shape.replace("{h}", host);
            // That is an address.
            if value.starts_with("\"80:fe80::1") {
                continue;
            }
            let found = diagnostics(&format!("[{table}]\n{key} = {value}\n"));
            for diagnostic in &found {
                let help = diagnostic.help.clone().unwrap_or_default();
                for proposed in proposed(&help, key) {
                    let again = format!("[{table}]\n{key} = {proposed}\n");
                    assert_eq!(diagnostics(&again), [], "{value}: {help}");
                    let bare = host.trim_matches(['[', ']']);
                    let is_kept = match (shape.contains("{h}"), host) {
                        (true, "*") => proposed.contains("0.0.0.0"),
                        (true, "fe80::1%eth0") => proposed.contains("eth0/ip6/fe80::1/"),
                        (true, _) => proposed.contains(bare),
                        (false, _) => proposed.contains("127.0.0.1"),
                    };
                    assert!(is_kept && !proposed.contains("udp"), "{value}: {help}");
                    // An example is shown only if no port was written.
                    let has_port = ["80", "81", ":0"].iter().any(|it| proposed.contains(it));
                    assert!(has_port || !value.contains("80"), "{value}: {help}");
                }
            }
        }
    }
}

#[test]
fn a_table_is_offered_what_it_takes() {
    check("network", "a", "\"0.0.0.0:80\"", &["\"/ip4/0.0.0.0/tcp/80\""]);
    check("declared", "a", "\"0.0.0.0:80\"", &[]);
    check("declared", "a", "[\"0.0.0.0\", \"80\"]", &[]);
    check("declared", "a", "\"/mem/7\"", &[]);
    check("network", "a", "\"/mem/7\"", &["\"/memory/7\""]);
    check("registrar", "listen", "\"/mem/7\"", &[]);
    check("registrar", "listen", "\"https://10.0.0.7\"", &["\"/ip4/10.0.0.7/tcp/443/tls\""]);
    check("network", "a", "\"https://10.0.0.7\"", &["\"/ip4/10.0.0.7/tcp/443/tls\""]);
    check("registrar", "listen", "\"127.0.0.1\"", &["\"/ip4/127.0.0.1/tcp/1616\""]);
}

#[test]
fn values_within_their_limits() {
    let check = |key: &str, value: &str, expected: &[&str]| {
        check("registrar", key, value, expected);
    };
    check("heartbeat", "5", &["\"5s\""]);
    check("heartbeat", "5000", &["\"5000ms\""]);
    check("heartbeat", "99999999999", &[]);
    check("heartbeat", "1.5", &[]);
    check("heartbeat", "\"5\"", &["\"5s\""]);
    check("heartbeat", "\"500\"", &["\"500s\"", "\"500ms\""]);
    check("heartbeat", "\"5000\"", &["\"5000ms\""]);
    check("heartbeat", "5s", &["\"5s\""]);
    check("heartbeat", "soon", &[]);
    check("sessions_max", "\"10\"", &["10"]);
    check("sessions_max", "\"0\"", &[]);
    check("sessions_max", "\"9999999999\"", &[]);
    check("sessions_max", "many", &[]);
    check("tractor", "yes", &["true"]);
    check("tractor", "Off", &["false"]);
    check("tractor", "\"true\"", &["true"]);
    check("tractor", "maybe", &[]);
}

#[test]
fn names_with_dots_are_put_together() {
    let found = diagnostics("[network]\nrisk.eu.desk = \"/unix/@a\"\n");
    let help = found[0].help.as_deref().unwrap_or_default();
    assert_eq!(help, "quote a name that has a dot in it: \"risk.eu.desk\"");
    assert_eq!(diagnostics("[network]\n\"risk.eu.desk\" = \"/unix/@a\"\n"), []);
}

#[test]
fn settings_for_dialing_get_dialable_proposals() {
    let help = |flag: &str| {
        let flags = [flag.to_owned()];
        let Err(Diagnostics(diagnostics)) = registrars(&flags, None, &[], "/run".as_ref()) else {
            panic!("{flag} passes for good")
        };
        diagnostics[0].help.clone().unwrap_or_default()
    };
    assert_eq!(help("0.0.0.0:1616"), "did you mean `/ip4/127.0.0.1/tcp/1616`?");
    assert_eq!(help("[::]:80"), "did you mean `/ip6/::1/tcp/80`?");
    assert_eq!(help("10.0.0.1"), "add a port: `/ip4/10.0.0.1/tcp/1616`");
    assert!(!help("10.0.0.1:0").contains("/tcp/0"));

    let listen = vec!["10.0.0.1".to_owned()];
    let flags = Overrides { listen, ..Overrides::none(Layer::Flags) };
    let Err(Diagnostics(diagnostics)) = overlay(Settings::default(), &[flags]) else {
        panic!("it has no port")
    };
    assert_eq!(diagnostics[0].help.as_deref(), Some("add a port: `/ip4/10.0.0.1/tcp/1616`"));
}

#[test]
fn words_that_are_nearly_right() {
    let names = |value: &str, expected: &[&str]| check("registrar", "names", value, expected);
    names("\"opn\"", &["\"open\""]);
    names("\"Open\"", &["\"open\""]);
    names("\"same_user\"", &["\"same-user\""]);
    names("\"sameuser\"", &["\"same-user\""]);
    names("open", &["\"open\""]);
    names("“open”", &["\"open\""]);
    let tractor = |value: &str, expected: &[&str]| check("registrar", "tractor", value, expected);
    tractor("\"ture\"", &["true"]);
    tractor("\"off\"", &["false"]);
    tractor("\"False\"", &["false"]);
    tractor("\"true\"", &["true"]);
    tractor("0", &["false"]);
    tractor("1", &["true"]);
    tractor("no", &["false"]);
    tractor("tru", &["true"]);
    tractor("flase", &["false"]);
    names("nope", &[]);
    let heartbeat =
        |value: &str, expected: &[&str]| check("registrar", "heartbeat", value, expected);
    heartbeat("\"5S\"", &["\"5s\""]);
    heartbeat("\"5 secnds\"", &["\"5 seconds\""]);
    heartbeat("\"500 mS\"", &["\"500 ms\""]);
    heartbeat("5 s", &["\"5 s\""]);
    check("registrar", "socket_mode", "\"rw-rw----\"", &["\"0660\""]);
    check("registrar", "socket_mode", "\"srwxrwxrwx\"", &["\"0666\""]);
}

#[test]
fn owners_that_are_nearly_right() {
    let check = |value: &str, expected: &[&str]| {
        let write = |owner: &str| format!("[names]\nx = {{ register = {owner} }}\n");
        let found = diagnostics(&write(value));
        assert_eq!(found.len(), 1, "{value}: {found:?}");
        let help = found[0].help.clone().unwrap_or_default();
        let proposed = proposed(&help, "register");
        for owner in &proposed {
            assert_eq!(diagnostics(&write(owner)), [], "{help}");
        }
        assert_eq!(proposed, expected, "for {value}: {help}");
    };
    check("\"usr:feed\"", &["\"user:feed\""]);
    check("\"Users: feed\"", &["\"user:feed\""]);
    check("\"uid=1000\"", &["\"user:1000\""]);
    check("\"grp:market\"", &["\"group:market\""]);
    check("\"@market\"", &["\"group:market\""]);
    check("\"ip:10.0.0.0/8\"", &["\"address:10.0.0.0/8\""]);
    check("\"10.0.0.7\"", &["\"address:10.0.0.7\""]);
    check("\"everybody\"", &["\"any\""]);
    check("\"*\"", &["\"any\""]);
}
