//! The default places of a tractor registrar.

use std::{
    ffi::OsStr,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use endpoints::Endpoint;
use transport::{RuntimeDirError, closed_folder};

/// Returns the default places of a tractor registrar: port 1616 of the
/// loopback, and the socket `registry@1616.sock` in their runtime directory, which is made if it
/// is not there.
///
/// That directory is `tractor` within `xdg_runtime_dir` (the value of `XDG_RUNTIME_DIR`); where
/// that is not set, or is open to others, within `/run/user/<uid>` or `<temp_dir>/runtime-<uid>`.
/// tractor makes the latter so that others may look into it; both are closed here, as tractor
/// closes its own.
///
/// # Errors
///
/// [`RuntimeDirError`] when the directory cannot be had, or is not to be trusted.
///
/// ```no_run
/// # use callsign_gateway as callsign;
/// use std::env;
///
/// use callsign::tractor::default_endpoints;
/// # use transport::RuntimeDirError;
///
/// let places = default_endpoints(env::var_os("XDG_RUNTIME_DIR").as_deref(), &env::temp_dir())?;
/// println!("tractor programs look at {} and {}", places[0], places[1]);
/// # Ok::<(), RuntimeDirError>(())
/// ```
pub fn default_endpoints(
    xdg_runtime_dir: Option<&OsStr>,
    temp_dir: &Path,
) -> Result<Vec<Endpoint>, RuntimeDirError> {
    let uid = rustix::process::geteuid().as_raw();
    let of_system = PathBuf::from(format!("/run/user/{uid}"));
    let said = xdg_runtime_dir.map(PathBuf::from).filter(|it| it.is_absolute());
    let is_private = |it: &PathBuf| {
        let status = fs::metadata(it);
        status.is_ok_and(|it| it.is_dir() && it.uid() == uid && it.mode() & 0o777 == 0o700)
    };
    let base = match [said, Some(of_system)].into_iter().flatten().find(is_private) {
        Some(base) => base,
        None => closed_folder(temp_dir.join(format!("runtime-{uid}")))?,
    };
    let folder = closed_folder(base.join("tractor"))?;
    let socket = Endpoint::from_unix_path(&folder.join("registry@1616.sock")).map_err(|error| {
        let source = io::Error::new(io::ErrorKind::InvalidInput, error);
        RuntimeDirError::Io { folder, source }
    })?;
    let loopback = "/ip4/127.0.0.1/tcp/1616".parse().expect("it is written as endpoints are");
    Ok(vec![loopback, socket])
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_socket_is_in_the_runtime_directory_if_that_is_private() {
        let [xdg, temp] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let uid = rustix::process::geteuid().as_raw();
        let set_mode = |mode| {
            fs::set_permissions(xdg.path(), fs::Permissions::from_mode(mode)).unwrap();
        };
        let found = || {
            let endpoints = default_endpoints(Some(xdg.path().as_os_str()), temp.path()).unwrap();
            endpoints.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        set_mode(0o700);
        let socket = format!("/unix{}/tractor/registry@1616.sock", xdg.path().display());
        assert_eq!(found(), ["/ip4/127.0.0.1/tcp/1616".to_owned(), socket.clone()]);
        set_mode(0o755);
        let of_system = format!("/unix/run/user/{uid}/tractor/registry@1616.sock");
        let of_temp =
            format!("/unix{}/runtime-{uid}/tractor/registry@1616.sock", temp.path().display());
        assert!(found()[1] == of_system || found()[1] == of_temp);
    }

    #[test]
    fn a_runtime_directory_that_no_endpoint_can_name_is_an_error() {
        let xdg = tempfile::tempdir().unwrap();
        fs::set_permissions(xdg.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let winding = xdg.path().join("..").join(xdg.path().file_name().unwrap());
        let error = default_endpoints(Some(winding.as_os_str()), xdg.path()).unwrap_err();
        assert!(matches!(error, RuntimeDirError::Io { .. }), "{error}");
    }
}
