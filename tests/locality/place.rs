//! Places of processes: namespaces and roots that others cannot look into.
//!
//! A namespace has no name here. A sleeping process holds it, and others enter it by way of
//! `/proc`; when the sleeper ends, which it does with the test however that ends, the namespace is
//! gone, with every mount and every link that was made in it. So concurrent tests share nothing,
//! and nothing is left behind.

use std::process::Command;

use crate::{
    harness::{Room, Running},
    roles::{self, Task},
};

/// The place where a process starts, and the root that it then takes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    /// The command prefix that enters it.
    entry: Vec<String>,
    /// The folder that becomes the process's root.
    root: Option<String>,
    /// The certificate that it shows: a folder of keys, and a name in it.
    certificate: Option<(String, String)>,
}

impl Place {
    /// Returns the place after entering this one and then these.
    #[must_use]
    pub(crate) fn then(&self, entry: &[&str]) -> Self {
        let more = entry.iter().map(|it| (*it).to_owned());
        Self { entry: self.entry.iter().cloned().chain(more).collect(), ..self.clone() }
    }

    /// Returns this place for processes that show a certificate of a folder of keys.
    #[must_use]
    pub(crate) fn with_certificate(&self, folder: &str, name: &str) -> Self {
        Self { certificate: Some((folder.to_owned(), name.to_owned())), ..self.clone() }
    }

    /// Returns this place below another root.
    #[must_use]
    pub(crate) fn below(&self, root: &str) -> Self {
        Self { root: Some(root.to_owned()), ..self.clone() }
    }

    /// Returns the folder that is the root here, unless it is the usual one.
    pub(crate) fn root(&self) -> Option<&str> {
        self.root.as_deref()
    }

    /// Starts a role here.
    #[track_caller]
    pub(crate) fn start(&self, room: &Room, role: roles::Role) -> Running {
        let program = std::env::current_exe().unwrap().display().to_string();
        let mut command = self.command(room, &program);
        let (root, certificate) = (self.root.clone(), self.certificate.clone());
        let task = Task { root, certificate, role };
        command.args(["--exact", "roles::play", "--nocapture", "--test-threads=1"]);
        command.env(roles::TASK, serde_json::to_string(&task).unwrap());
        Running::start(command)
    }

    /// Starts `callsign …` here.
    #[track_caller]
    pub(crate) fn callsign(&self, room: &Room, args: &[&str]) -> Running {
        self.program(room, env!("CARGO_BIN_EXE_callsign"), args)
    }

    /// Starts another program here.
    #[track_caller]
    pub(crate) fn program(&self, room: &Room, program: &str, args: &[&str]) -> Running {
        let mut command = self.command(room, program);
        command.args(args);
        Running::start(command)
    }

    /// Runs a shell script here to its end.
    #[track_caller]
    pub(crate) fn run(&self, room: &Room, script: &str) {
        self.program(room, "sh", &["-ec", script]).outcome().succeeds();
    }

    /// Makes namespaces, runs a shell script in them, and holds them for others to enter.
    #[track_caller]
    fn hold(&self, room: &Room, unshare: &[&str], script: &str) -> Running {
        let mut command = self.then(&["unshare"]).then(unshare).command(room, "sh");
        command.args(["-ec", &format!("{script}\necho ready; exec sleep infinity")]);
        let mut holder = Running::start(command);
        holder.line("`ready`", |line| line == "ready");
        holder
    }

    fn command(&self, room: &Room, program: &str) -> Command {
        match &self.entry[..] {
            [] => room.other_command(program),
            [first, rest @ ..] => {
                let mut command = room.other_command(first);
                command.args(rest).arg(program);
                command
            }
        }
    }
}

/// A network namespace with nothing but its loopback.
#[derive(Debug)]
pub(crate) struct Net {
    holder: Running,
}

impl Net {
    #[track_caller]
    pub(crate) fn new(room: &Room) -> Self {
        Self { holder: Place::default().hold(room, &["--net"], "ip link set lo up") }
    }

    /// Returns the place within it.
    pub(crate) fn place(&self) -> Place {
        Place::default().then(&["nsenter", &format!("--net=/proc/{}/ns/net", self.holder.pid())])
    }

    /// Links it to another one, and gives each end its name and its address.
    #[track_caller]
    pub(crate) fn link(&self, room: &Room, own: [&str; 2], other: &Self, others: [&str; 2]) {
        let [[name, address], [other_name, other_address]] = [own, others];
        let pid = other.holder.pid();
        let script = format!("ip link add {name} type veth peer name {other_name} netns {pid}");
        self.place().run(room, &script);
        self.give(room, name, address);
        other.give(room, other_name, other_address);
    }

    /// Gives a link its address, and brings it up. An empty address gives none.
    #[track_caller]
    fn give(&self, room: &Room, link: &str, address: &str) {
        let address = match address {
            "" => String::new(),
            address => format!("ip address add {address} dev {link}; "),
        };
        self.place().run(room, &format!("{address}ip link set {link} up"));
    }
}

/// A network namespace that joins others, and can cut one off: each still sees its own link as before.
#[derive(Debug)]
pub(crate) struct Switch(Net);

impl Switch {
    /// Returns `None`, and says so, where there can be none.
    pub(crate) fn new(room: &Room) -> Option<Self> {
        let tried = "unshare --net ip link add bridge type bridge";
        if !can_make_namespaces(room) || !can(room, "make a network bridge", tried) {
            return None;
        }
        let net = Net::new(room);
        net.place().run(room, "ip link add bridge type bridge; ip link set bridge up");
        Some(Self(net))
    }

    /// Joins a namespace, by a port of this name, and gives it its address.
    #[track_caller]
    pub(crate) fn join(&self, room: &Room, net: &Net, name: &str, address: &str) {
        net.link(room, ["eth0", address], &self.0, [name, ""]);
        self.heal(room, name);
    }

    /// Loses what goes through a port from now on.
    #[track_caller]
    pub(crate) fn cut(&self, room: &Room, name: &str) {
        self.0.place().run(room, &format!("ip link set {name} nomaster"));
    }

    #[track_caller]
    pub(crate) fn heal(&self, room: &Room, name: &str) {
        self.0.place().run(room, &format!("ip link set {name} master bridge"));
    }

    /// Returns the place within it.
    pub(crate) fn place(&self) -> Place {
        self.0.place()
    }
}

/// A mount namespace, or one of several kinds.
#[derive(Debug)]
pub(crate) struct Held {
    holder: Running,
    from: Place,
    kinds: &'static [&'static str],
}

impl Held {
    /// Makes a mount namespace that begins as a copy of `from`, and changes it by a script.
    #[track_caller]
    pub(crate) fn mounts(room: &Room, from: &Place, script: &str) -> Self {
        let holder = from.hold(room, &["--mount", "--propagation", "private"], script);
        Self { holder, from: from.clone(), kinds: &["mnt"] }
    }

    /// Makes a PID namespace with a `/proc`.
    #[track_caller]
    pub(crate) fn processes(room: &Room, from: &Place, script: &str) -> Self {
        let unshare = ["--pid", "--fork", "--kill-child", "--mount-proc"];
        let holder = from.hold(room, &unshare, script);
        // It is the parent of the first process, so its own namespace is still the old one.
        Self { holder, from: from.clone(), kinds: &["mnt", "pid_for_children"] }
    }

    /// Returns the place within it.
    pub(crate) fn place(&self) -> Place {
        let pid = self.holder.pid();
        let options: Vec<_> = self
            .kinds
            .iter()
            .map(|kind| {
                let option = match *kind {
                    "mnt" => "mount",
                    _ => "pid",
                };
                format!("--{option}=/proc/{pid}/ns/{kind}")
            })
            .collect();
        let options: Vec<_> = options.iter().map(String::as_str).collect();
        self.from.then(&["nsenter"]).then(&options)
    }
}

/// Tells whether namespaces can be made here; if not, reports on standard error that the test is
/// skipped.
pub(crate) fn can_make_namespaces(room: &Room) -> bool {
    let tried = "unshare --net --mount --pid --fork --mount-proc sh -ec \
                 'ip link set lo up; mount -t tmpfs none /tmp; nsenter --version'";
    can(room, "make namespaces", tried)
}

/// Tells whether a script succeeds; if not, reports on standard error that the test is skipped.
#[expect(clippy::print_stderr, reason = "whoever runs the tests is told what was not tested")]
pub(crate) fn can(room: &Room, what: &str, script: &str) -> bool {
    let mut command = room.other_command("sh");
    command.args(["-ec", script]);
    let tried = Running::start(command).outcome();
    if tried.code != Some(0) {
        eprintln!("skipped: this test has to {what}, which takes root and a kernel that can");
        eprintln!("{tried}");
    }
    tried.code == Some(0)
}
