//! Faulty settings files of the kinds that people write. The `.txt` beside each has the expected
//! diagnostics.

use std::{fs, path::Path};

use config::read;

#[test]
fn bad_files_are_told_what_is_wrong() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad");
    let mut checked = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|it| it != "toml") {
            continue;
        }
        let name = path.file_name().and_then(|it| it.to_str()).unwrap();
        let source = fs::read_to_string(&path).unwrap();
        let Err(diagnostics) = read(&source, name) else { panic!("{name} passes for good") };
        let expected = fs::read_to_string(path.with_extension("txt")).unwrap_or_default();
        assert_eq!(format!("{diagnostics}\n"), expected, "{diagnostics}");
        checked += 1;
    }
    assert!(checked > 0, "no file in {}", folder.display());
}
