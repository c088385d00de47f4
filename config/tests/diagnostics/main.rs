//! The diagnostics of faulty settings files, and correct files without any.

mod places;

use std::time::Duration;

use config::{Diagnostic, Severity, Tractor, read};

/// Writes a diagnostic on one line: `line:column message | help`, then the other places that it
/// shows.
fn compact(diagnostic: &Diagnostic) -> String {
    let (line, column) = diagnostic.place.line_column();
    let warning = if diagnostic.severity == Severity::Warning { "warning: " } else { "" };
    let mut text = format!("{line}:{column} {warning}{}", diagnostic.message);
    if let Some(help) = &diagnostic.help {
        text += &format!(" | {help}");
    }
    for related in &diagnostic.related {
        let (line, column) = related.place.line_column();
        text += &format!(" [{line}:{column} {}]", related.label);
    }
    text
}

/// Checks the diagnostics of a file. In the expected text, `«…»` repeats the bytes at fault.
#[track_caller]
fn check(source: &str, expected: &[&str]) {
    let diagnostics = match read(source, "test.toml") {
        Ok((_, warnings)) => warnings,
        Err(diagnostics) => diagnostics,
    };
    let found: Vec<_> = diagnostics
        .0
        .iter()
        .map(|it| format!("«{}» {}", &source[it.place.span.clone()], compact(it)))
        .collect();
    assert_eq!(found, expected, "in\n{source}");
}

#[test]
fn backslashes_in_double_quotes_are_meant_as_slashes() {
    let first =
        r#"missing escaped value, expected `b`, `e`, `f`, `n`, `r`, `\`, `"`, `x`, `u`, `U`"#;
    let check = |value: &str, at: usize, fault: &str, help: &str| {
        let source = format!("[network]\na = {value}\n");
        let Err(diagnostics) = read(&source, "test.toml") else { panic!("{value}") };
        let found: Vec<_> = diagnostics.0.iter().map(compact).collect();
        assert_eq!(found, [format!("2:{at} {fault}{help}")], "{value}");
    };
    let meant = |it: &str| format!(" | did you mean `{it}`?");
    check(r#""\ip4\127.0.0.1\tcp\80""#, 7, first, &meant("/ip4/127.0.0.1/tcp/80"));
    check(r#""\dns\db\tcp\5432""#, 7, first, &meant("/dns/db/tcp/5432"));
    check(r#"["/unix/@a", "\dns\db\tcp\80"]"#, 20, first, &meant("/dns/db/tcp/80"));
    let digits = "too few unicode value digits, expected unicode hexadecimal value";
    check(r#""\unix\run\x.sock""#, 8, digits, &meant("/unix/run/x.sock"));
    // Where a path of Windows would be is not known.
    let rule = r" | a `\` begins an escape in double quotes, and none in single ones";
    check(r#""C:\run\x.sock""#, 14, digits, rule);
    check(r#""a\qb""#, 8, first, rule);
}

#[test]
fn invalid_toml() {
    check(
        "[registrar]\nlisten = [\"/unix/@a\" \"/unix/@b\"]\n[network]\nfeed = \n",
        &[
            "«» 2:22 a `,` is missing before this | put one between the two",
            "«» 4:8 a value is missing | write feed = …",
        ],
    );
    // The line after an unclosed list is not part of the list.
    check(
        "[network]\na = /x\nb = [[\"h\", 80],\nc = /y\n[netwrok]\nd = \"/udp/1\"",
        &[
            "«/x» 2:5 `/x` is not in quotes",
            "«[» 3:5 the list that begins here is not closed | close it with a `]`",
            "«/y» 4:5 `/y` is not in quotes",
            "«netwrok» 5:2 unknown table `[netwrok]` | did you mean `[network]`?",
        ],
    );
    // The keys below a broken header do not count as keys at the top of the file.
    check(
        "[network\nfeed = \"/unix/@a\"",
        &["«[» 1:1 the header that begins here is not closed | close it with `]`"],
    );
    check(
        "[network]\nfeed = /unix/run/feed.sock\n[registrar]\nheartbeat = 5s",
        &[
            "«/unix/run/feed.sock» 2:8 `/unix/run/feed.sock` is not in quotes \
             | write \"/unix/run/feed.sock\"",
            "«5s» 4:13 `5s` is not in quotes | write \"5s\"",
        ],
    );
    // The other lines are still read.
    check(
        "[network]\nfeed = \"/unix/@a\nchart = \"/udp/1\"",
        &[
            "«\"» 2:8 the string that begins here is not closed | close it with `\"`",
            "«udp» 3:11 unsupported protocol `udp` in `/udp/1` | supported are `/unix/<path>`, \
             `/unix/@<name>`, `/ip4|ip6|dns|dns4|dns6/<host>/tcp/<port>`, \
             `/ip6zone/<interface>/ip6/<address>/tcp/<port>`, each with TLS as \
             `/tcp/<port>/tls`, and `/memory/<number>` [3:1 of this actor]",
        ],
    );
}

#[test]
fn duplicate_keys() {
    let key = "keep one; an actor has all its endpoints in one list";
    check(
        "[network]\nfeed = \"/unix/@a\"\n[declared]\nfeed = \"/unix/@b\"\n\"feed\" = []",
        &[&format!("«\"feed\"» 5:1 `feed` appears twice | {key} [4:1 first here]")],
    );
    check(
        "[registrar]\nheartbeat = \"1s\"\nheartbeat = \"2s\"",
        &[&format!("«heartbeat» 3:1 `heartbeat` appears twice | {key} [2:1 first here]")],
    );
    check(
        "[network]\nnetwork = \"/unix/@a\"\n[declared]\n[network]\n",
        &["«network» 4:2 the table `[network]` appears twice \
           | put its lines below the first header [1:2 first here]"],
    );
    let many = "[network]\n".repeat(100);
    let Err(diagnostics) = read(&many, "test.toml") else { panic!("a table may not stand twice") };
    assert_eq!(diagnostics.0.len(), 99);
}

#[test]
fn unknown_keys() {
    check(
        "[netwrok]\n[[declard]]\n",
        &[
            "«netwrok» 1:2 unknown table `[netwrok]` | did you mean `[network]`?",
            "«declard» 2:3 unknown table `[declard]` | did you mean `[declared]`?",
        ],
    );
    check(
        "host_id = \"a\"\n[host]\nname = \"a\"\n",
        &[
            "«host_id» 1:1 the key `host_id` is in no table \
             | it belongs in the table `[host]`, where it is called `id`",
            "«name» 3:1 unknown key `name` in `[host]` | its only key is `id`",
        ],
    );
    check(
        "[host]\nid = 7\n",
        &["«7» 2:6 found a number where a string is expected \
           | the id is a word, such as id = \"rack7-node3\""],
    );
    check(
        "[host]\nid = \"two words\"\n",
        &["«two words» 2:7 a host id cannot have white space, control or invisible characters"],
    );
    check(
        "listen = []\nfeed = \"/unix/@a\"\n",
        &["«listen» 1:1 the key `listen` is in no table \
             | `listen` belongs in the table `[registrar]`"],
    );
    check(
        "[registrar]\nlisen = 1\ntimeout=2\nmax-sessions=3\nfoo=3",
        &[
            "«lisen» 2:1 unknown key `lisen` in `[registrar]` | did you mean `listen`?",
            "«timeout» 3:1 unknown key `timeout` in `[registrar]` \
             | did you mean `handshake_timeout`?",
            "«max-sessions» 4:1 unknown key `max-sessions` in `[registrar]` \
             | did you mean `sessions_max`?",
            "«foo» 5:1 unknown key `foo` in `[registrar]` | its keys are `listen`, `insecure`, \
             `socket_mode`, `socket_group`, `handshake_timeout`, `heartbeat`, \
             `heartbeat_misses`, `sessions_max`, `settle_time`, \
             `drain_timeout`, `tractor`, `names`",
        ],
    );
}

#[test]
fn who_may_connect() {
    let octal = "write three octal digits, for user, group and others: `0660`";
    let nobody = "write permission lets connect: `0600` its user, `0660` its group too";
    let mode = |value: &str, expected: &[&str]| {
        check(&format!("[registrar]\nsocket_mode = {value}\n"), expected);
    };
    for right in ["\"0600\"", "'660'", "\" 0o666 \"", "\"0722\"", "\"0060\""] {
        mode(right, &[]);
    }
    mode("\"rw-rw----\"", &["«rw-rw----» 2:16 `rw-rw----` is not a mode | write `0660`"]);
    for wrong in ["u=rw", "0688", "1777", "04660", "66", "-660", "+66", "0x1b0", ""] {
        let diagnostic = format!("«{wrong}» 2:16 `{wrong}` is not a mode | {octal}");
        mode(&format!("\"{wrong}\""), &[&diagnostic]);
    }
    for closed in ["0440", "000", "0555"] {
        let diagnostic = format!("«{closed}» 2:16 `{closed}` lets nobody connect | {nobody}");
        mode(&format!("\"{closed}\""), &[&diagnostic]);
    }
    let half = |value: &str, who: &str, meant: &str| {
        let diagnostic = format!(
            "«{value}» 2:16 warning: `{value}` lets {who} read, but not connect \
             | to let them connect: `{meant}`"
        );
        mode(&format!("\"{value}\""), &[&diagnostic]);
    };
    half("0640", "its group", "0660");
    half("0644", "its group and all others", "0666");
    half("0466", "its own user", "0666");

    // Other spellings with a clear meaning are parsed before they are proposed.
    mode("0660", &["«0» 2:15 a number begins with a zero | write \"0660\""]);
    mode("0440", &["«0» 2:15 a number begins with a zero"]);
    let number = "found a number where a string is expected | write socket_mode =";
    mode("660", &[&format!("«660» 2:15 {number} \"0660\"")]);
    mode("0o600", &[&format!("«0o600» 2:15 {number} \"0600\"")]);
    mode("432", &[&format!("«432» 2:15 {number} \"0432\"")]);
    mode("438", &[&format!("«438» 2:15 {number} \"0660\"")]);
    mode("rw", &["«rw» 2:15 `rw` is not in quotes"]);

    let group = "name one group, as `getent group` lists them, or give its number";
    check(
        "[registrar]\nsocket_group = \"a b\"\n",
        &[&format!("«a b» 2:17 `a b` is not a group | {group}")],
    );
    check(
        "[registrar]\nsocket_group = 27\n",
        &["«27» 2:16 found a number where a string is expected | write socket_group = \"27\""],
    );
    check(
        "[registrar]\nsocket_group = adm\n",
        &["«adm» 2:16 `adm` is not in quotes | write \"adm\""],
    );
    check(
        "[registrar]\nsocket_group = \"adm\"\nsocket_mode = \"0600\"\n",
        &["«0600» 3:16 warning: the group may not connect to a socket of mode `0600` \
           | to let it: `0660` [2:17 the group]"],
    );
}

#[test]
fn the_files_of_a_certificate_are_named_together() {
    let whole = "[tls]\nca = \"a\"\ncertificate = \"b\"\nkey = \"c\"\n";
    check(whole, &[]);
    let takes = "it takes `ca`, `certificate` and `key`, as `callsign keys` makes them";
    let lacks = |key: &str| format!("«tls» 1:2 `[tls]` has no `{key}` | {takes}");
    check("[tls]\n", &[&lacks("ca"), &lacks("certificate"), &lacks("key")]);
    check("[tls]\nca = \"a\"\nkey = \"c\"\n", &[&lacks("certificate")]);
    check(
        &format!("{whole}cert = \"d\"\nport = 1\n"),
        &[
            "«cert» 5:1 unknown key `cert` in `[tls]` | did you mean `certificate`?",
            "«port» 6:1 unknown key `port` in `[tls]` | its keys are `ca`, `certificate`, `key`",
        ],
    );
    check(&whole.replace("\"a\"", "\"\""), &["«» 2:7 `` is not a path"]);
    // What is there, and of another type, is not missing.
    let ca =
        "«5» 2:6 found a number where a string is expected | write ca = \"/etc/callsign/ca.pem\"";
    check(&whole.replace("\"a\"", "5"), &[ca]);
    let certificate = "«[\"b\"]» 3:15 found a list where a string is expected \
                       | write certificate = \"/etc/callsign/node.pem\"";
    check(&whole.replace("\"a\"", "5").replace("\"b\"", "[\"b\"]"), &[ca, certificate]);
    check(
        "[cluster]\nengine = 5\nendpoints = 7\n",
        &[
            "«5» 2:10 found a number where a string is expected | write engine = \"etcd\"",
            "«7» 3:13 found a number where a list is expected \
             | write endpoints = [\"http://127.0.0.1:2379\"]",
        ],
    );
}

#[test]
fn wrong_types() {
    check(
        "network = 3\n[[declared]]\n",
        &[
            "«3» 1:11 found a number where the table `[network]` is expected",
            "«[[declared]]» 2:1 found a list where the table `[declared]` is expected \
             | write the header in single brackets: `[declared]`",
        ],
    );
    check(
        "[registrar]\nlisten = 1\nhandshake_timeout = 5\nheartbeat = true\n\
         heartbeat_misses = 1.5\nsessions_max = \"10\"\ntractor = \"true\"",
        &[
            "«1» 2:10 found a number where endpoints are expected | write listen = [\"127.0.0.1\", 1]",
            "«5» 3:21 found a number where a duration is expected \
             | write the unit: handshake_timeout = \"5s\"",
            "«true» 4:13 found a boolean where a duration is expected \
             | a duration is a string: heartbeat = \"900ms\"",
            "«1.5» 5:20 found a fraction where a number is expected | it may be from 1 to 100",
            "«\"10\"» 6:16 found a string where a number is expected | write it without quotes: 10",
            "«\"true\"» 7:11 found a string where `true` or `false` is expected \
             | write it without quotes: true",
        ],
    );
    for (number, meant) in [("900", "900ms"), ("2", "2s"), ("90000", "90000ms")] {
        let expected = format!(
            "«{number}» 2:13 found a number where a duration is expected | write the unit: heartbeat = \"{meant}\""
        );
        check(&format!("[registrar]\nheartbeat = {number}"), &[&expected]);
    }
    check(
        "[registrar]\ntractor = 1",
        &["«1» 2:11 found a number where `true` or `false` is expected | write tractor = true"],
    );
    let endpoint = "an endpoint is a multiaddr, such as \"/unix/run/feed.sock\", \
                    or a pair, such as [\"127.0.0.1\", 5555]";
    check(
        "[network]\nfeed = [\n7,\n[],\n[\"h\"],\n[\"h\", 1.5],\n[1, 2],\n{},\n]",
        &[
            &format!("«7» 3:1 found a number where an endpoint is expected | {endpoint}"),
            &format!(
                "«[]» 4:1 found a list of 0 where a [host, port] pair is expected | {endpoint}"
            ),
            &format!(
                "«[\"h\"]» 5:1 found a list of 1 where a [host, port] pair is expected | {endpoint}"
            ),
            &format!("«1.5» 6:7 found a fraction where a port is expected | {endpoint}"),
            &format!("«1» 7:2 found a number where a host is expected | {endpoint}"),
            &format!("«{{}}» 8:1 found a table where an endpoint is expected | {endpoint}"),
        ],
    );
    check(
        "[network]\nfeed.eu = \"/unix/@a\"\n[network.chart]\nendpoints = []\n",
        &[
            "«feed» 2:1 found a table where endpoints are expected \
             | quote a name that has a dot in it: \"feed.eu\"",
            "«[network.chart]» 3:1 found a table where endpoints are expected \
             | write in `[network]` where it listens, such as chart = \"/ip4/127.0.0.1/tcp/5555\"",
        ],
    );
}

#[test]
fn durations_and_numbers() {
    let units = "a duration is a number and a unit, such as `500ms`, `5s`, `2min` or `1h 30min`";
    check(
        "[registrar]\nhandshake_timeout = \"5\"\nheartbeat = \"5 parsecs\"\nheartbeat_misses = 0\n\
         sessions_max = -1\ndrain_timeout = \"2 days\"",
        &[
            "«5» 2:22 `5` has no unit of time | write `5s` for seconds",
            &format!("«parsecs» 3:16 `parsecs` is not a unit of time | {units}"),
            "«0» 4:20 `0` is out of range for `heartbeat_misses` | it may be from 1 to 100",
            "«-1» 5:16 `-1` is out of range for `sessions_max` | it may be from 1 to 1000000",
            "«2 days» 6:18 `2 days` is out of range for `drain_timeout` \
             | it may be from 0s to 1h",
        ],
    );
    check(
        "[registrar]\nhandshake_timeout = \"\"\nheartbeat = 'soon'\nheartbeat_misses = 5000000000\n\
         sessions_max = 99999999999999999999\ndrain_timeout = \"99999999999999999999y\"",
        &[
            &format!("«» 2:22 `` is not a duration | {units}"),
            &format!("«soon» 3:14 `soon` is not a duration | {units}"),
            "«5000000000» 4:20 `5000000000` is out of range for `heartbeat_misses` \
             | it may be from 1 to 100",
            "«99999999999999999999» 5:16 `99999999999999999999` is out of range for \
             `sessions_max` | it may be from 1 to 1000000",
            "«99999999999999999999y» 6:18 `99999999999999999999y` is too long a time \
             | it may be from 0s to 1h",
        ],
    );
    check(
        "[registrar]\nheartbeat = \"0s\"\nhandshake_timeout = \"1h\"\ndrain_timeout = \"0s\"",
        &[
            "«0s» 2:14 `0s` is out of range for `heartbeat` | it may be from 10ms to 1h",
            "«1h» 3:22 `1h` is out of range for `handshake_timeout` | it may be from 10ms to 5m",
        ],
    );
}

#[test]
fn names() {
    let help = "a name is 1 to 255 bytes without white space, `/`, `*`, `?`, control or invisible characters";
    check(
        "[network]\n\"c d\" = \"/unix/@a\"\n\"\" = \"/unix/@b\"\n'feed*' = 3",
        &[
            &format!(
                "«\"c d\"» 2:1 a name cannot have a space in it, as `c d` has at character 2 | {help}"
            ),
            &format!("«\"\"» 3:1 a name cannot be empty | {help}"),
            &format!(
                "«'feed*'» 4:1 a name cannot have `*` in it, as `feed*` has at character 5 | {help}"
            ),
            "«3» 4:11 found a number where endpoints are expected | write 'feed*' = [\"127.0.0.1\", 3]",
        ],
    );
}

#[test]
fn a_registrar_that_listens_nowhere() {
    check(
        "[registrar]\nlisten = []",
        &["«[]» 2:10 the registrar listens nowhere \
           | name an endpoint, or leave out `listen` for the usual ones"],
    );
    check(
        "[network]\na = []\n[declared]\nb = [ ]\nc = \"/unix/@c\"\n",
        &[
            "«[]» 2:5 warning: `a` has no endpoint | say where it listens, or leave it out",
            "«[ ]» 4:5 warning: `b` has no endpoint | say where it listens, or leave it out",
        ],
    );
    // An actor whose endpoints are all faulty is not reported as having none.
    check(
        "[registrar]\nlisten = [\"@a\"]",
        &["«@a» 2:12 no `/` at the beginning of `@a` | did you mean `/unix/@a`?"],
    );
}

#[test]
fn the_applications_own_tables_are_allowed() {
    check("[network]\npikerd = [\"/ip4/127.0.0.1/tcp/6116\"]\n[ui]\nfont_size = 16\n", &[]);
    check("[[window]]\nname = \"a\"\n[[window]]\nname = \"b\"\n", &[]);
    check("[tool.ui]\nfont_size = 16\n[server]\nport = 80\n", &[]);
    check("title = \"market\"\nui.font_size = 16\n[network]\na = \"/unix/@a\"\n", &[]);
    check(
        "registar = 1\n",
        &["«registar» 1:1 unknown key `registar` | did you mean `[registrar]`?"],
    );
}

#[test]
fn text_that_only_a_shell_expands() {
    let said = "is taken literally; nothing is substituted \
                | write out the path that is meant";
    let table =
        |table: &str, key: &str, path: &str| format!("[{table}]\n{key} = \"/unix/{path}\"\n");
    for (part, path) in [
        ("$XDG_RUNTIME_DIR", "$XDG_RUNTIME_DIR/a.sock"),
        ("${HOME}", "${HOME}/a.sock"),
        ("$USER", "tmp/app-$USER.sock"),
        ("$dir", "$dir/a.sock"),
        ("~", "~/a.sock"),
        ("~ann", "~ann/a.sock"),
    ] {
        let at = |key: &str| 2 + key.len() + 3 + "/unix/".len() + path.find(part).unwrap_or(0);
        let diagnostic = |key: &str| format!("«{part}» 2:{} warning: `{part}` {said}", at(key));
        check(&table("registrar", "listen", path), &[&diagnostic("listen")]);
        for name in ["network", "declared"] {
            let diagnostic = format!("{} [2:1 of this actor]", diagnostic("a"));
            check(&table(name, "a", path), &[&diagnostic]);
        }
    }
    for path in ["run/cost$5.sock", "run/a$b.sock", "run/a$", "run/$/a", "run/${/a", "run/~/a"] {
        check(&table("network", "a", path), &[]);
        check(&table("declared", "a", path), &[]);
    }
}

#[test]
fn faults_print_a_line_each() {
    let Err(diagnostics) = read("[netwrok]\n[network]\na = [\"/unix/@a\", \"/unix/@a\"]", "a.toml")
    else {
        panic!("a table is unknown")
    };
    assert_eq!(
        diagnostics.to_string(),
        "a.toml:1:2: error: unknown table `[netwrok]` (did you mean `[network]`?)\n\
         a.toml:3:19: warning: `a` has `/unix/@a` twice (leave it out here; it binds once)"
    );
}

#[test]
fn a_file_without_faults_is_taken_as_it_is_meant() {
    let source = "\u{feff}# A comment.\r\n\
        [host]\r\n\
        id = \"rack7-node3\"\n\
        [registrar]\r\n\
        listen = ['/unix/run/r.sock', [\"0.0.0.0\", 0x650]]\n\
        handshake_timeout = \"1min 30s\"\n\
        heartbeat = '250ms'\n\
        heartbeat_misses = 4\n\
        sessions_max = 1_000\n\
        drain_timeout = \"0s\"\n\
        [network]\n\
        feed = [\"/unix/run/feed.sock\", [\"10.0.0.7\", 5555], \"/ip4/0.0.0.0/tcp/5556\"]\n\
        chart = \"/unix/@chart\"\n\
        \"risk.eu\" = [\"127.0.0.1\", 0]\n\
        [declared]\n\
        postgres = \"/unix/run/postgresql/.s.PGSQL.5432\"\n";
    let (settings, warnings) = read(source, "test.toml").unwrap();
    assert_eq!(warnings.0, []);

    assert_eq!(settings.host_id.unwrap().as_str(), "rack7-node3");
    let registrar = &settings.registrar;
    let listen: Vec<_> = registrar.listen.iter().map(ToString::to_string).collect();
    assert_eq!(listen, ["/unix/run/r.sock", "/ip4/0.0.0.0/tcp/1616"]);
    assert_eq!(registrar.handshake_timeout, Duration::from_secs(90));
    assert_eq!(registrar.heartbeat, Duration::from_millis(250));
    assert_eq!(registrar.heartbeat_misses, 4);
    assert_eq!(registrar.sessions_max, 1000);
    assert_eq!(registrar.drain_timeout, Duration::ZERO);

    let lines = |table: &endpoints::EndpointTable| -> Vec<_> {
        let line = |(name, endpoints): (&endpoints::Name, &[endpoints::Endpoint])| {
            let endpoints: Vec<_> = endpoints.iter().map(ToString::to_string).collect();
            format!("{name}: {}", endpoints.join(" "))
        };
        table.iter().map(line).collect()
    };
    assert_eq!(
        lines(&settings.network),
        [
            "chart: /unix/@chart",
            "feed: /unix/run/feed.sock /ip4/10.0.0.7/tcp/5555 /ip4/0.0.0.0/tcp/5556",
            "risk.eu: /ip4/127.0.0.1/tcp/0",
        ]
    );
    assert_eq!(lines(&settings.declared), ["postgres: /unix/run/postgresql/.s.PGSQL.5432"]);
}

#[test]
fn tractor_programs_are_let_in_as_far_as_is_said() {
    let check = |source: &str, expected: Tractor| {
        let (settings, _) = read(&format!("[registrar]\n{source}"), "test.toml").unwrap();
        assert_eq!(settings.registrar.tractor, expected, "{source}");
    };
    check("", Tractor::Local);
    check("tractor = true", Tractor::Everywhere);
    check("tractor = false", Tractor::Nowhere);
}

#[test]
fn an_empty_file_means_the_defaults() {
    for source in ["", "\n# nothing\n", "[registrar]\n[network]\n[declared]\n"] {
        let (settings, warnings) = read(source, "test.toml").unwrap();
        assert_eq!(settings, config::Settings::default(), "{source:?}");
        assert_eq!(warnings.0, []);
    }
}
