//! A root finds its registrar, or becomes it.

mod ends;

use std::{
    ffi::OsStr,
    fs::{self, Permissions},
    io::{BufRead, BufReader},
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use endpoints::{Endpoint, Name};
use libtest_mimic::{Failed, Trial};
use registrar::{LocalClient, registry::Owner};
use tokio::{io::AsyncWriteExt, task::JoinSet};
use tokio_util::sync::CancellationToken;
use transport::Listener;
use tree::{AnyError, Root, RootError};
use wire::registrar::Register;

use crate::roles::{PROGRAM, RACER, RUNNER, RUNNER_CONFIG};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("root::becomes_the_registrar_or_joins_it", || play(becomes_or_joins)),
        Trial::test("root::grows_while_its_registrar_is_away", || play(grows_alone)),
        Trial::test("root::takes_back_the_uuids_of_its_actors", || play(takes_back)),
        Trial::test("root::a_second_one_is_told_where_the_first_is", || play(second)),
        Trial::test("root::a_program_says_where_and_why_it_failed", || play(program)),
        Trial::test("root::a_signal_ends_a_root_that_is_not_open_yet", || play(ends::early_signal)),
        Trial::test("root::what_is_occupied_by_something_else_is_refused", || play(occupied)),
        Trial::test("root::one_of_those_who_race_is_the_registrar", || play(race)),
        Trial::test("root::the_second_signal_hurries_the_end", || play(ends::hurried)),
        Trial::test("root::the_second_signal_gets_past_who_is_stuck", || play(ends::hurried_past)),
        Trial::test("root::reads_the_settings_that_its_program_finds", || play(settings)),
        Trial::test("root::an_error_has_a_backtrace_if_asked", || play(ends::backtraces)),
        Trial::test("root::a_child_without_its_threads_says_so", || play(ends::too_few_threads)),
        Trial::test("root::lives_beside_the_registrar_of_another_user", || play(beside_another)),
        Trial::test("root::listens_where_the_table_says_each_place_once", || play(places)),
        Trial::test(WILDCARDS, || play(wildcards)),
    ]
}

fn play<F: Future<Output = Result<(), AnyError>>>(
    case: impl FnOnce(tempfile::TempDir) -> F,
) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let runtime = tokio::runtime::Runtime::new()?;
    let played = runtime.block_on(async { tokio::time::timeout(LIMIT, case(folder)).await });
    match played {
        Ok(played) => played.map_err(|error| error.to_string().into()),
        Err(_) => Err("the case did not end".into()),
    }
}

fn place(folder: &Path) -> String {
    format!("/unix{}/registrar.sock", folder.display())
}

async fn becomes_or_joins(folder: tempfile::TempDir) -> Result<(), AnyError> {
    let place = place(folder.path());
    let first = Root::options().registrar(&place).ensure_registrar();
    first
        .run(async |root| {
            assert!(root.is_registrar());
            // Another root would need a process of its own; a client is enough to see the first.
            let found = discovery::Client::connect([&place]).await?;
            assert!(found.query_actor("root").await?.is_some());
            Ok(())
        })
        .await?;
    assert!(std::fs::read_dir(folder.path())?.next().is_none(), "nothing is left behind");

    let endpoint: Endpoint = place.parse()?;
    let node = registrar::Node::bind(&[endpoint], registrar::NodeOptions::default()).await?;
    let stop = CancellationToken::new();
    let serving = node.serve(stop.clone());
    let joining = async {
        let joined = Root::options().registrar(&place).run(async |root| Ok(root.is_registrar()));
        assert!(!joined.await?);
        let insisting = Root::options().registrar(&place).ensure_registrar();
        let refused = insisting.run(async |_| Ok(())).await.unwrap_err();
        assert!(matches!(refused, RootError::NotRegistrar(_)), "{refused}");
        stop.cancel();
        Ok::<_, AnyError>(())
    };
    let (joined, ()) = tokio::join!(joining, serving);
    joined
}

/// A child spawned while the registrar is away is found once it is back.
async fn grows_alone(folder: tempfile::TempDir) -> Result<(), AnyError> {
    let place = place(folder.path());
    let endpoints: [Endpoint; 1] = [place.parse()?];
    let bind = async || registrar::Node::bind(&endpoints, registrar::NodeOptions::default()).await;
    let mut nodes = JoinSet::new();
    let stop = CancellationToken::new();
    nodes.spawn(bind().await?.serve(stop.clone()));
    Root::options()
        .registrar(&place)
        .run(async |root| {
            stop.cancel();
            nodes.join_next().await;
            root.nursery(async |n| {
                let task = n.spawn("late-task").task().await?;
                let thread = n.spawn("late-thread").thread().await?;
                let process = n.spawn("late-process").process().await?;
                nodes.spawn(bind().await?.serve(CancellationToken::new()));
                let client = discovery::Client::connect([&place]).await?;
                for child in [task, thread, process] {
                    let found = client.wait_for_actor(child.name()).await?;
                    let endpoints: Vec<_> =
                        found.endpoints.into_iter().map(|it| it.endpoint).collect();
                    assert_eq!(endpoints, child.endpoints());
                    assert!(client.find_actor(child.name()).await?.is_some(), "it proves itself");
                }
                Ok(())
            })
            .await?;
            Ok(())
        })
        .await?;
    Ok(())
}

/// A program that has read the UUIDs of a tree's actors cannot keep any of them.
async fn takes_back(folder: tempfile::TempDir) -> Result<(), AnyError> {
    let place = place(folder.path());
    let endpoints: [Endpoint; 1] = [place.parse()?];
    let bind = async || registrar::Node::bind(&endpoints, registrar::NodeOptions::default()).await;
    let mut nodes = JoinSet::new();
    let stop = CancellationToken::new();
    nodes.spawn(bind().await?.serve(stop.clone()));
    let run = async |root: Root| {
        root.nursery(async |n| {
            let task = n.spawn("one-task").task().await?;
            let thread = n.spawn("one-thread").thread().await?;
            let process = n.spawn("one-process").process().await?;
            let names = ["root", task.name(), thread.name(), process.name()];
            let client = discovery::Client::connect([&place]).await?;
            let mut before = Vec::new();
            for name in names {
                before.push(client.wait_for_actor(name).await?);
            }
            stop.cancel();
            nodes.join_next().await;
            let node = bind().await?;
            let stranger = LocalClient::open(node.registry().clone(), Owner::User(4711));
            for (number, record) in before.iter().enumerate() {
                let name = Name::new(&format!("squatter-{number}"))?;
                drop(stranger.register(Register::new(name, record.uuid))?);
            }
            nodes.spawn(node.serve(CancellationToken::new()));
            for record in before {
                let found = client.wait_for_actor(record.name.as_str()).await?;
                assert_eq!((found.uuid, found.owner), (record.uuid, record.owner));
            }
            let squatters = client.list("squatter-*").await?.records;
            assert!(squatters.is_empty(), "{squatters:?}");
            Ok(())
        })
        .await?;
        Ok(())
    };
    Root::options().registrar(&place).run(run).await?;
    Ok(())
}

async fn second(folder: tempfile::TempDir) -> Result<(), AnyError> {
    let place = place(folder.path());
    Root::options()
        .registrar(&place)
        .run(async |_root| {
            let second = Root::options().registrar(&place).run(async |_| Ok(())).await;
            let error = second.unwrap_err().to_string();
            assert!(error.contains("roots.rs:"), "{error}");
            Ok(())
        })
        .await?;
    Ok(())
}

async fn program(folder: tempfile::TempDir) -> Result<(), AnyError> {
    let output = tokio::task::block_in_place(|| start_program(folder.path())?.wait_with_output())?;
    let said = String::from_utf8(output.stderr)?;
    let place = "callsign: there is no second root: this process has a root already, opened at ";
    assert!(said.starts_with(place) && said.contains("roles.rs:"), "{said}");
    assert_eq!(output.status.code(), Some(1));
    Ok(())
}

/// Starts a program whose settings are in a folder.
fn start_program(folder: &Path) -> std::io::Result<Child> {
    let settings = folder.join("callsign.toml");
    std::fs::write(&settings, format!("[registrar]\nlisten = {:?}\n", place(folder)))?;
    Command::new("/proc/self/exe").env(PROGRAM, settings).stderr(Stdio::piped()).spawn()
}

async fn occupied(folder: tempfile::TempDir) -> Result<(), AnyError> {
    let place = place(folder.path());
    let listener = Listener::bind(&place.parse()?).await?;
    let rooting = Root::options().registrar(&place).run(async |_| Ok(()));
    let serving = async {
        loop {
            if let Ok(mut stream) = listener.accept().await {
                drop(stream.write_all(b"220 mail.example.org ESMTP\r\n").await);
            }
        }
    };
    let error = tokio::select! {
        ended = rooting => ended.unwrap_err(),
        () = serving => unreachable!("it serves for ever"),
    };
    assert!(matches!(error, RootError::Occupied(_)), "{error}");
    assert!(error.to_string().contains(&place), "{error}");
    Ok(())
}

/// Several processes start at once: one becomes the registrar, and the others join it.
async fn race(folder: tempfile::TempDir) -> Result<(), AnyError> {
    let place = place(folder.path());
    tokio::task::block_in_place(|| {
        for _round in 0..3 {
            let mut racers = Vec::new();
            for _ in 0..4 {
                let mut command = Command::new("/proc/self/exe");
                command.env(RACER, &place).stdin(Stdio::piped()).stdout(Stdio::piped());
                racers.push(command.spawn()?);
            }
            let mut said = Vec::new();
            for racer in &mut racers {
                let mut line = String::new();
                BufReader::new(racer.stdout.take().unwrap()).read_line(&mut line)?;
                said.push(line.trim().to_owned());
            }
            said.sort();
            assert_eq!(said, ["joined", "joined", "joined", "registrar"]);
            for mut racer in racers {
                drop(racer.stdin.take());
                assert!(racer.wait()?.success());
            }
        }
        Ok(())
    })
}

/// A root may not create a socket beside the registrar of another user, and creates its own in its
/// runtime folder, or, where there is none, in no folder.
async fn beside_another(folder: tempfile::TempDir) -> Result<(), AnyError> {
    let as_user = |program: &OsStr| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "1001", "--regid", "1001", "--clear-groups"]).arg(program);
        command
    };
    let exe = std::env::current_exe()?;
    let tried = tokio::task::block_in_place(|| as_user(exe.as_os_str()).arg("--list").output());
    if !tried.is_ok_and(|it| it.status.success()) {
        eprintln!("skipped: this test has to run itself as another user, which takes root");
        return Ok(());
    }
    let [theirs, own] = ["theirs", "own"].map(|it| folder.path().join(it));
    for (path, mode) in [(folder.path(), 0o755), (&theirs, 0o755), (&own, 0o700)] {
        fs::create_dir_all(path)?;
        fs::set_permissions(path, Permissions::from_mode(mode))?;
    }
    chown(&own, Some(1001), Some(1001))?;
    let socket = theirs.join("registrar.sock");
    let settings = folder.path().join("callsign.toml");
    fs::write(&settings, format!("[registrar]\nlisten = \"/unix{}\"\n", socket.display()))?;

    let root = Root::options().registrar(place(&theirs)).ensure_registrar();
    root.run(async |_| {
        fs::set_permissions(&socket, Permissions::from_mode(0o666))?;
        let beside = |[variable, value]: [&str; 2]| -> Result<_, AnyError> {
            let mut command = as_user(exe.as_os_str());
            command.env(RUNNER, "").env_remove("XDG_RUNTIME_DIR").env(variable, value);
            command.env(RUNNER_CONFIG, &settings);
            let output = tokio::task::block_in_place(|| command.output())?;
            assert!(output.status.success(), "{output:?}");
            Ok(String::from_utf8(output.stdout)?)
        };
        let (own, theirs) = (own.display().to_string(), theirs.display().to_string());
        for (variable, expected) in [
            (["XDG_RUNTIME_DIR", &own], format!("/unix{own}/callsign/root-")),
            (["TMPDIR", &own], format!("/unix{own}/callsign-1001/root-")),
            (["XDG_RUNTIME_DIR", &theirs], "/unix/@callsign-".to_owned()),
        ] {
            let listens = beside(variable)?;
            assert!(listens.starts_with(&expected), "{variable:?}: {listens}");
        }
        Ok(())
    })
    .await?;
    Ok(())
}

const WILDCARDS: &str = "root::actors_are_found_by_the_addresses_that_the_host_has_now";

/// Actors of every kind, below a root that is the registrar and below one that is not. It runs in a
/// separate network namespace, in a new process of this program.
async fn wildcards(folder: tempfile::TempDir) -> Result<(), AnyError> {
    if std::env::var_os(OWN_NETWORK).is_some() {
        follows_addresses(&place(folder.path())).await?;
        shares_ports().await?;
        ip("link set lo down");
        ip("addr flush dev lo");
        let other = format!("/unix{}/other.sock", folder.path().display());
        let endpoints: [Endpoint; 1] = [other.parse()?];
        let node = registrar::Node::bind(&endpoints, registrar::NodeOptions::default()).await?;
        let stop = CancellationToken::new();
        let followed = async {
            let followed = follows_addresses(&other).await;
            stop.cancel();
            followed
        };
        return tokio::join!(followed, node.serve(stop.clone())).0;
    }
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: to make a network namespace takes the rights of root");
        return Ok(());
    }
    let mut command = Command::new("unshare");
    command.arg("-n").arg(std::env::current_exe()?).args(["--exact", WILDCARDS]);
    let played = tokio::task::spawn_blocking(move || command.env(OWN_NETWORK, "1").output());
    let output = played.await??;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    Ok(())
}

/// A root that is the registrar has places of its own beside the registrar's port.
async fn shares_ports() -> Result<(), AnyError> {
    let check = async |registrar: &str, own: &str, expected: &[&str]| -> Result<(), AnyError> {
        let root = Root::options().name("root").registrar(registrar).insecure().bind(own);
        root.run(async |root| {
            assert!(root.is_registrar());
            let port = registrar.rsplit('/').next().unwrap_or_default();
            let client = discovery::Client::connect([format!("/ip4/127.0.0.1/tcp/{port}")]).await?;
            let record = client.query_actor("root").await?.expect("it is registered");
            let mut found: Vec<_> =
                record.endpoints.iter().map(|it| it.endpoint.to_string()).collect();
            found.sort();
            assert_eq!(found, expected, "{registrar} and {own}");
            Ok(())
        })
        .await?;
        Ok(())
    };
    let [ip4, ip6] = ["/ip4/127.0.0.1/tcp/7700", "/ip6/::1/tcp/7700"];
    check("/ip4/0.0.0.0/tcp/7700", "/ip6/::/tcp/7700", &[ip6]).await?;
    check("/ip6/::/tcp/7700", "/ip4/0.0.0.0/tcp/7700", &[ip4, ip6]).await?;
    check("/ip4/0.0.0.0/tcp/7700", "/ip4/127.0.0.1/tcp/7700", &[ip4]).await?;
    // Impossible places are errors.
    let root = Root::options().registrar("/ip4/127.0.0.1/tcp/7700").bind("/ip4/0.0.0.0/tcp/7700");
    let Err(error) = root.run(async |_| Ok(())).await else { panic!("it cannot be bound") };
    let error = portal::WithCauses(&error).to_string();
    assert!(error.contains("cannot listen at `/ip4/0.0.0.0/tcp/7700`: it is in use"), "{error}");
    Ok(())
}

async fn follows_addresses(registrar: &str) -> Result<(), AnyError> {
    const NAMES: [&str; 4] = ["all", "task", "thread", "process"];

    let all = "/ip4/0.0.0.0/tcp/0";
    let root = Root::options().name("all").registrar(registrar).bind(all);
    root.run(async |root| {
        root.nursery(async |n| {
            let _task = n.spawn("task").task().bind(all).await?;
            let _thread = n.spawn("thread").thread().bind(all).await?;
            let _process = n.spawn("process").process().bind(all).await?;
            let client = discovery::Client::connect([registrar]).await?;
            let are_at = async |hosts: &[&str]| -> Result<(), AnyError> {
                for name in NAMES {
                    let host = |it: &endpoints::Stamped| {
                        it.endpoint.to_string().split('/').nth(2).map(str::to_owned)
                    };
                    while !client.query_actor(name).await?.is_some_and(|record| {
                        let found: Vec<_> = record.endpoints.iter().filter_map(host).collect();
                        found == hosts
                    }) {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                }
                Ok(())
            };
            // Without a network, a wildcard stands for no address.
            are_at(&[]).await?;
            ip("link set lo up");
            are_at(&["127.0.0.1"]).await?;
            ip("addr add 10.77.0.1/24 dev lo");
            are_at(&["127.0.0.1", "10.77.0.1"]).await?;
            ip("addr add 10.78.0.9/24 dev lo");
            ip("addr del 10.77.0.1/24 dev lo");
            are_at(&["127.0.0.1", "10.78.0.9"]).await?;
            ip("addr del 10.78.0.9/24 dev lo");
            are_at(&["127.0.0.1"]).await
        })
        .await?;
        Ok(())
    })
    .await?;
    Ok(())
}

fn ip(words: &str) {
    let done = Command::new("ip").args(words.split(' ')).status().unwrap();
    assert!(done.success(), "ip {words}");
}

const OWN_NETWORK: &str = "CALLSIGN_TEST_OWN_NETWORK";

async fn places(folder: tempfile::TempDir) -> Result<(), AnyError> {
    let registrar = place(folder.path());
    let feed = format!("/unix{}/feed.sock", folder.path().display());
    let table = endpoints::parse_endpoints([("feed", endpoints::Written::from_iter([&*feed]))])?;
    let encoded = format!("/unix/{}", feed.trim_start_matches("/unix").replace('/', "%2F"));
    Root::options()
        .registrar(&registrar)
        .table(table)
        .run(async |root| {
            root.nursery(async |n| {
                let child = n.spawn("feed").task().bind(&encoded).bind("/memory/0").await?;
                let places: Vec<_> = child.endpoints().iter().map(ToString::to_string).collect();
                assert_eq!(places.len(), 2, "{places:?}");
                assert_eq!(places[0], feed);
                // Both families at one port, in either order.
                let has_ipv6 = transport::here().interfaces.iter().any(|it| it.ip.is_ipv6());
                for [first, second] in [["ip4/0.0.0.0", "ip6/::"], ["ip6/::1", "ip4/127.0.0.1"]] {
                    if !has_ipv6 {
                        break;
                    }
                    let [first, second] = [first, second].map(|it| format!("/{it}/tcp/0"));
                    let both = n.spawn("both").task().bind(&first).bind(&second).await?;
                    let ports = both.endpoints().iter().filter_map(|it| match it {
                        endpoints::Endpoint::Tcp(tcp) => Some(tcp.port),
                        _ => None,
                    });
                    let ports: Vec<_> = ports.collect();
                    let is_one = ports.len() > 1 && ports.iter().all(|it| *it == ports[0]);
                    assert!(is_one, "{:?}", both.endpoints());
                }
                Ok(())
            })
            .await?;
            Ok(())
        })
        .await?;
    Ok(())
}

/// A program that finds its settings by a flag, by a variable, or in the working directory.
async fn settings(folder: tempfile::TempDir) -> Result<(), AnyError> {
    let folder = folder.path();
    let id = uuid::Uuid::new_v4().simple();
    for name in ["flag", "variable", "callsign"] {
        let settings = format!(
            "[registrar]\nlisten = \"/unix/@{name}-registrar-{id}\"\n\
             [network]\nroot = \"/unix/@{name}-{id}\"\n"
        );
        fs::write(folder.join(format!("{name}.toml")), settings)?;
    }
    let run = |arguments: &[&str], variable: Option<&str>| -> Result<_, AnyError> {
        let mut command = Command::new("/proc/self/exe");
        command.env(RUNNER, "").current_dir(folder).args(arguments);
        command.env("XDG_RUNTIME_DIR", folder).env_remove(RUNNER_CONFIG);
        command.envs(variable.map(|it| (RUNNER_CONFIG, it)));
        let output = tokio::task::block_in_place(|| command.output())?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said)?.trim_end().replace(&format!("-{id}"), "");
        Ok((said, output.status.code()))
    };
    let well = |endpoint: &str| (endpoint.to_owned(), Some(0));
    assert_eq!(run(&["--config=flag.toml"], Some("variable.toml"))?, well("/unix/@flag"));
    assert_eq!(run(&["serve"], Some("variable.toml"))?, well("/unix/@variable"));
    assert_eq!(run(&["serve"], None)?, well("/unix/@callsign"));
    let unreadable = |by: &str| {
        let said = "callsign: cannot read the settings file `no.toml`, which";
        (format!("{said} {by} names: No such file or directory (os error 2)"), Some(2))
    };
    assert_eq!(run(&["--config", "no.toml"], Some("flag.toml"))?, unreadable("--config"));
    assert_eq!(run(&["serve"], Some("no.toml"))?, unreadable(RUNNER_CONFIG));
    Ok(())
}

const LIMIT: Duration = Duration::from_secs(240);
