//! An authority of one's own: its certificates work with the programs of others, and what cannot be
//! done is told with a remedy.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    process::Command,
    thread,
};

use crate::harness::{Node, Outcome, Room, Running, free_port};

/// What another server says of a client's certificate.
const NGINX: &str = "pid ROOM/pid; error_log ROOM/log; events {}\n\
    http { access_log off; server {\n\
    listen 127.0.0.1:PORT ssl; ssl_protocols TLSv1.3;\n\
    ssl_certificate ROOM/keys/web.pem; ssl_certificate_key ROOM/keys/web.key;\n\
    ssl_client_certificate ROOM/keys/ca.pem; ssl_verify_client on;\n\
    location / { return 200 \"hello $ssl_client_s_dn\\n\"; } } }";

#[test]
fn a_tls_server_that_knows_nothing_of_callsign_is_an_actor() {
    for (program, version) in [("nginx", "-v"), ("curl", "-V"), ("openssl", "version")] {
        if Command::new(program).arg(version).output().is_err() {
            eprintln!("skipped: this machine has no {program}");
            return;
        }
    }
    for kind in ["p256", "ed25519"] {
        let room = Room::new();
        let node = Node::start(&room);
        for folder in ["keys", "others"] {
            room.callsign(&["keys", "init", folder, "--key", kind]).succeeds();
            room.callsign(&["keys", "issue", folder, "desk/rates"]).succeeds();
        }
        let hosts = ["--host", "127.0.0.1", "--host", "localhost"];
        room.callsign(&[&["keys", "issue", "keys", "web"][..], &hosts].concat()).succeeds();
        let port = free_port().to_string();
        let endpoint = format!("/ip4/127.0.0.1/tcp/{port}/tls");
        let folder = room.path().display().to_string();
        room.write("conf", &NGINX.replace("ROOM", &folder).replace("PORT", &port));
        // As root, nginx would read the keys as root, and then serve as another user.
        let (log, conf) = (format!("{folder}/log"), format!("{folder}/conf"));
        let nginx = ["--", "nginx", "-e", &log, "-c", &conf, "-g", "daemon off;"];
        let server = node.run(&[&["register", "web", &endpoint][..], &nginx].concat());
        node.callsign(&["wait", "web", "--timeout", "5m"]).succeeds().prints(&[&endpoint]);

        let run = |program: &str, args: &[&str]| -> Outcome {
            let mut command = room.other_command(program);
            command.args(args);
            Running::start(command).write("").outcome()
        };
        let curl = |ca: &str, of: &str, host: &str| {
            let url = format!("https://{host}:{port}/");
            let [cert, key] = ["pem", "key"].map(|it| format!("{of}/desk/rates.{it}"));
            run("curl", &["-sS", "--cacert", ca, "--cert", &cert, "--key", &key, &url])
        };
        for host in ["127.0.0.1", "localhost"] {
            curl("keys/ca.pem", "keys", host)
                .succeeds()
                .prints(&["hello CN=desk/rates,O=callsign"]);
        }
        // The certificate of another authority, on either side, and one for another host.
        curl("keys/ca.pem", "others", "127.0.0.1").prints(&["The SSL certificate error"]);
        curl("others/ca.pem", "keys", "127.0.0.1").ends_with(60).says(&["certificate"]);
        let host = format!("feed.example:{port}:127.0.0.1");
        let url = format!("https://feed.example:{port}/");
        let other_host = ["-sS", "--cacert", "keys/ca.pem", "--resolve", &host, &url];
        run("curl", &other_host).ends_with(60).says(&["no alternative certificate subject name"]);

        let at = format!("127.0.0.1:{port}");
        let strict = ["-verify_return_error", "-verify_ip", "127.0.0.1", "-tls1_3"];
        let client = ["s_client", "-connect", &at, "-CAfile", "keys/ca.pem"];
        run("openssl", &[&client[..], &strict].concat()).prints(&["Verify return code: 0 (ok)"]);
        let own = ["-cert", "keys/desk/rates.pem", "-key", "keys/desk/rates.key", "-ign_eof"];
        let mut asks = room.other_command("openssl");
        asks.args([&client[..], &strict, &own].concat());
        let request = "GET / HTTP/1.0\r\n\r\n";
        let asked = Running::start(asks).write(request).outcome();
        asked.prints(&["hello CN=desk/rates,O=callsign"]);
        drop(server);
    }
}

#[test]
fn what_is_wrong_with_keys_is_told_with_a_remedy() {
    let room = Room::new();
    room.callsign(&["keys", "init", "keys", "--domain", "market.example"]).succeeds();
    room.callsign(&["keys", "issue", "keys", "feed"]).succeeds();
    let check = |typed: &str, code: i32, said: &[&str]| {
        let words: Vec<_> = typed.split(' ').collect();
        let outcome = room.callsign(&[&["keys"], &words[..]].concat()).ends_with(code);
        let outcome = outcome.says(said);
        assert!(outcome.stdout.is_empty(), "{outcome}");
    };
    check("init keys", 2, &["`keys` already exists", "a folder that does not exist"]);
    check("init no/such/keys", 2, &["cannot make the folder", "No such file"]);
    check("init new --domain Market", 2, &["`M` in `Market`", "lower-case letters"]);
    check("init new --key rsa", 2, &["invalid value 'rsa'", "p256, ed25519"]);
    check("ini new", 2, &["'init'"]);
    check("issue nowhere feed", 2, &["no folder `nowhere`", "`callsign keys init DIR`"]);
    check("issue keys/desk feed", 2, &["no folder", "`callsign keys init DIR`"]);
    check("issue keys feed", 2, &["`keys/feed.key` already exists", "move both"]);
    check("issue keys ca", 2, &["the authority itself", "another name"]);
    check("issue keys /feed", 2, &["no part of the path of a SPIFFE ID is empty"]);
    check("issue keys feed/../risk", 2, &["`.` or `..`"]);
    check("issue keys f*d", 2, &["`*` in `f*d` is none of them"]);
    check("issue keys risk --host 1.2.3.400", 2, &["neither a DNS name nor an IP address"]);
    check("issue keys risk --host feed:80", 2, &["without a port"]);
    check("issue keys risk --for 5", 2, &["no unit of time"]);
    check("issue keys risk --for 10s", 2, &["less than a minute", "--for 90d"]);
    check("issue keys risk --for 11y", 2, &["cannot outlast the authority", "days left"]);
    check("show nowhere.pem", 2, &["cannot show `nowhere.pem`", "No such file"]);
    check("show keys", 2, &["cannot show `keys`", "Is a directory"]);
    room.write("empty.pem", "");
    check("show empty.pem", 2, &["it is empty"]);
    room.write("binary.pem", "0\u{82}\u{0}");
    check("show binary.pem", 2, &["it is not PEM", "openssl x509"]);
    assert!(!room.file("keys/risk.key").exists() && !room.file("new").exists());

    let mode = |file: &str, mode| {
        fs::set_permissions(room.file(file), fs::Permissions::from_mode(mode)).unwrap();
    };
    mode("keys/ca.key", 0o644);
    check("issue keys risk", 2, &["`keys/ca.key` is open to other users (mode 0644)", "0600"]);
    mode("keys/ca.key", 0o600);
    mode("keys", 0o755);
    check("issue keys risk", 2, &["`keys` is open to other users (mode 0755)", "mode 0700"]);
    mode("keys", 0o700);
    fs::rename(room.file("keys/ca.key"), room.file("keys/mine.key")).unwrap();
    check("issue keys risk", 2, &["has no `ca.key`"]);
    symlink("mine.key", room.file("keys/ca.key")).unwrap();
    check("issue keys risk", 2, &["`keys/ca.key` is not a regular file"]);
    fs::remove_file(room.file("keys/ca.key")).unwrap();
    fs::copy(room.file("keys/feed.key"), room.file("keys/ca.key")).unwrap();
    check("issue keys risk", 2, &["is not that of the certificate", "put back the key"]);
    let outcome = room.callsign(&["keys", "show", "keys/feed.key"]).succeeds();
    assert!(!outcome.stderr.contains("warning"), "{outcome}");
    mode("keys/feed.key", 0o640);
    room.callsign(&["keys", "show", "keys/feed.key"]).succeeds().says(&["open to others"]);
}

/// `[tls]` takes keys in the forms that OpenSSL has for their kinds, and they were not shown.
#[test]
fn keys_of_all_forms_are_shown_with_their_id() {
    if Command::new("openssl").arg("version").output().is_err() {
        eprintln!("skipped: this machine has no openssl");
        return;
    }
    let room = Room::new();
    let shown = |file: &str| {
        let shown = room.callsign(&["keys", "show", file, "--json"]).succeeds().json();
        let key = shown.as_array().unwrap().last().unwrap().clone();
        (key["key"].as_str().unwrap_or("none").to_owned(), key["key_id"].clone())
    };
    let openssl = |args: &str| {
        let mut command = room.other_command("openssl");
        command.args(args.split_whitespace());
        Running::start(command).outcome().succeeds();
    };
    let check = |make: &str, kind: &str| {
        openssl(make);
        openssl("pkcs8 -topk8 -nocrypt -in own.key -out usual.key");
        let (own, usual) = (shown("own.key"), shown("usual.key"));
        assert_eq!(own.0, kind, "{make}");
        assert_eq!(own, usual, "{make}");
    };
    check("ecparam -name prime256v1 -genkey -noout -out own.key", "P-256");
    // With the parameters in a block before it.
    check("ecparam -name secp384r1 -genkey -out own.key", "P-384");
    openssl("genrsa -traditional -out own.key 2048");
    assert_eq!(shown("own.key").0, "RSA 2048");
    openssl("genrsa -traditional -aes128 -passout pass:abcd -out own.key 2048");
    assert_eq!(shown("own.key").0, "none");

    // Standard input.
    let usual = fs::read_to_string(room.file("usual.key")).unwrap();
    let said = Running::start(room.command(&["keys", "show", "-"])).write(&usual).outcome();
    let said = said.succeeds();
    said.prints(&["standard input", "holds       a private key", "P-384"]);
    let none =
        Running::start(room.command(&["keys", "show", "-"])).write("").outcome().ends_with(2);
    none.says(&["cannot show `standard input`", "it is empty"]);
}

#[test]
fn programs_read_what_was_made() {
    let room = Room::new();
    let made = room.callsign(&["keys", "init", "keys", "--json"]).succeeds().json();
    assert_eq!(made["domain"], "callsign.internal");
    assert_eq!(
        (&made["certificate"], &made["key"]),
        (&"keys/ca.pem".into(), &"keys/ca.key".into())
    );
    let issue =
        ["keys", "issue", "keys", "feed", "--host", "Feed.Example", "--for", "30d", "--json"];
    let issued = room.callsign(&issue).succeeds().json();
    assert_eq!(issued["spiffe_id"], "spiffe://callsign.internal/feed");
    assert_eq!(issued["hosts"], serde_json::json!(["feed.example"]));
    assert_eq!(issued["authority"], made["certificate"]);

    let show = |file: &str| room.callsign(&["keys", "show", file, "--json"]).succeeds().json();
    let (certificate, key) = (show("keys/feed.pem"), show("keys/feed.key"));
    assert_eq!(certificate[0]["holds"], "certificate");
    assert_eq!(certificate[0]["uris"], serde_json::json!([issued["spiffe_id"]]));
    // Fractions of a second have passed.
    assert_eq!(certificate[0]["days_left"], 30);
    let until = |of: &serde_json::Value| of["until_ms"].as_u64().unwrap() / 1000;
    assert_eq!(until(&certificate[0]), until(&issued));
    assert_eq!(key[0]["holds"], "key");
    assert_eq!(key[0]["key_id"], certificate[0]["key_id"]);
    let authority = show("keys/ca.pem");
    assert!(authority[0]["is_authority"].as_bool().unwrap(), "{authority}");
    let failed = room.callsign(&["keys", "show", "nowhere", "--json"]).ends_with(2);
    assert!(failed.stderr.starts_with("{\"error\":"), "{failed}");
}

/// Several at once get one pair of files, and each of the others is told that it is there.
#[test]
fn of_several_that_issue_one_name_one_does() {
    let room = Room::new();
    room.callsign(&["keys", "init", "keys"]).succeeds();
    let issue = || room.run(&["keys", "issue", "keys", "feed"]).outcome();
    let codes = thread::scope(|scope| {
        let all: Vec<_> = (0..8).map(|_| scope.spawn(issue)).collect();
        let ended = all.into_iter().map(|it| it.join().unwrap());
        ended.map(|it| it.stderr.contains("already exists")).collect::<Vec<_>>()
    });
    assert_eq!(codes.iter().filter(|it| !**it).count(), 1, "{codes:?}");
    let key_id = |file: &str| {
        let shown = room.callsign(&["keys", "show", file, "--json"]).succeeds().json();
        shown[0]["key_id"].clone()
    };
    assert_eq!(key_id("keys/feed.pem"), key_id("keys/feed.key"));
    let left = fs::read_dir(room.file("keys")).unwrap().count();
    assert_eq!(left, 4, "nothing else is left");
}
