//! Disks that are full.

use crate::harness::{Room, Running};

/// Starts registrars on a full disk: a kill leaves files behind.
const SCRIPT: &str = r#"
mount -t tmpfs -o size=16k none "$DISK"
cat /dev/zero >"$DISK/fill" 2>/dev/null || true
export CALLSIGN_REGISTRAR="/unix$DISK/r.sock"
start() {
  "$CALLSIGN" registrar --listen "$CALLSIGN_REGISTRAR" >/dev/null 2>>log & registrar=$!
  until "$CALLSIGN" status >/dev/null 2>&1; do kill -0 $registrar; done
}
for end in KILL KILL TERM KILL; do
  start
  "$CALLSIGN" registrar --listen "$CALLSIGN_REGISTRAR" 2>&1 | grep -m 1 error || true
  "$CALLSIGN" register web /unix/@web-on-a-full-disk --ttl 1m
  "$CALLSIGN" ls --json | grep -c web
  kill -$end $registrar; wait $registrar || true
  echo "left:" $(ls "$DISK")
done
rm "$DISK/fill"
start
grep -c pid "$DISK/r.sock.lock"
kill $registrar; wait $registrar || true
echo "left:" $(ls "$DISK")
"#;

#[test]
fn a_registrar_starts_on_a_full_disk_and_after_one_that_was_killed_there() {
    let room = Room::new();
    let disk = room.file("disk");
    std::fs::create_dir(&disk).unwrap();
    let script = |script: &str| {
        let mut command = room.other_command("unshare");
        command.args(["--mount", "sh", "-ec", script]);
        command.env("DISK", &disk).env("CALLSIGN", env!("CARGO_BIN_EXE_callsign"));
        Running::start(command).outcome()
    };
    if script("mount -t tmpfs -o size=16k none \"$DISK\"").code != Some(0) {
        eprintln!("skipped: this test has to mount a tmpfs, which takes root");
        return;
    }
    let told = script(SCRIPT).succeeds();
    println!("{told}");
    let lefts: Vec<_> = told.stdout.lines().filter(|it| it.starts_with("left:")).collect();
    let killed = "left: fill r.sock r.sock.lock";
    assert_eq!(lefts, [killed, killed, "left: fill", killed, "left:"], "{told}");
}
