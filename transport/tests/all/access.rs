//! Access to socket files.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use rustix::process::geteuid;
use transport::{Access, BindError, BindOptions, DialError, Listener, Whereabouts, dial};

use crate::common::{as_nobody, bounded, unix};

fn with(mode: u32, group: Option<u32>) -> BindOptions {
    BindOptions { access: Some(Access { mode, group }), is_watched: true }
}

/// Returns the mode and the group of a file.
fn of(path: &Path) -> (u32, u32) {
    let status = fs::symlink_metadata(path).unwrap();
    (status.mode() & 0o7777, status.gid())
}

/// Makes a folder that others may look into.
fn open_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

#[tokio::test]
async fn a_socket_has_the_mode_that_was_asked_for_whatever_the_umask_is() {
    let folder = open_folder();
    let path = folder.path().join("feed.sock");
    for mode in [0o600, 0o660, 0o666, 0o622] {
        let listener = Listener::bind_with(&unix(&path), with(mode, None)).await.unwrap();
        assert_eq!(of(&path), (mode, rustix::process::getegid().as_raw()));
        dial(listener.bound()).await.unwrap();
        bounded(listener.accept()).await.unwrap();
        listener.close().unwrap();
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
    }
}

#[tokio::test]
async fn write_permission_on_the_file_decides_who_may_connect() {
    if !geteuid().is_root() {
        eprintln!("skipped: it takes root to become another user");
        return;
    }
    let folder = open_folder();
    let (own, other) = (Some(rustix::process::getegid().as_raw()), Some(12_345));
    for (mode, group, may) in
        [(0o600, own, false), (0o660, other, false), (0o660, own, true), (0o666, other, true)]
    {
        let endpoint = unix(&folder.path().join(format!("{mode:o}-{group:?}.sock")));
        let _listener = Listener::bind_with(&endpoint, with(mode, group)).await.unwrap();
        // Another user of this group.
        let dialed = as_nobody(async { dial(&endpoint).await.map(drop) });
        if may {
            dialed.unwrap()
        } else {
            assert!(matches!(dialed, Err(DialError::NoPermission)), "{mode:o} {dialed:?}")
        }
    }
}

#[tokio::test]
async fn a_socket_that_is_bound_again_has_them_again() {
    let folder = open_folder();
    let path = folder.path().join("feed.sock");
    let group = geteuid().is_root().then_some(12_345);
    let listener = Listener::bind_with(&unix(&path), with(0o662, group)).await.unwrap();
    let before = of(&path);
    assert_eq!(before.0, 0o662);
    assert_eq!(before.1, group.unwrap_or_else(|| rustix::process::getegid().as_raw()));

    let mut published = listener.published();
    let mut whereabouts = Whereabouts::of(&published);
    let mut changes = whereabouts.changes();
    fs::remove_file(&path).unwrap();
    bounded(async {
        tokio::select! {
            _ = listener.accept() => panic!("nobody connects"),
            () = async { while !whereabouts.follow(&mut published) { changes.next().await } } => {}
        }
    })
    .await;
    assert_eq!(of(&path), before);
}

#[test]
fn a_group_that_one_may_not_give_is_an_error_and_leaves_nothing() {
    let folder = open_folder();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let path = folder.path().join("feed.sock");
    let error = as_nobody(Listener::bind_with(&unix(&path), with(0o660, Some(4_000_000))));
    let error = error.unwrap_err();
    assert!(matches!(error, BindError::NotInGroup { group: 4_000_000 }), "{error:?}");
    assert_eq!(folder.path().read_dir().unwrap().count(), 0);
}
