//! The settings that say who may use which names.

use config::{Grantee, Names, read};

#[test]
fn rules_are_read_with_their_places() {
    let text = r#"
[registrar]
names = "open"
[names]
"feed*" = { register = ["user:feed", "group:market", "address:10.0.0.0/8"], exclusive = true }
db = { find = "any", max_instances = 4 }
"#;
    let (settings, warnings) = read(text, "market.toml").unwrap();
    assert!(warnings.0.is_empty(), "{warnings}");
    assert_eq!(settings.registrar.names, Names::Open);
    assert_eq!(settings.registrar.names_place.as_deref(), Some("market.toml:3"));
    let [feed, db] = &settings.names[..] else { panic!("{:?}", settings.names) };
    assert_eq!((feed.place(), feed.exclusive), ("market.toml:5".to_owned(), true));
    let [Grantee::User(user), Grantee::Group(group), network] =
        &feed.register.as_ref().unwrap()[..]
    else {
        panic!("{feed:?}")
    };
    assert_eq!((&*user.name, &*group.name), ("feed", "market"));
    assert_eq!(*network, Grantee::Address("10.0.0.0".parse().unwrap(), 8));
    assert_eq!((&db.register, &db.find), (&None, &Some(vec![Grantee::Any])));
    assert_eq!(db.instances_max, Some(4));
    let (settings, _) = read("[names]\ndb = { find = [] }\n", "market.toml").unwrap();
    assert_eq!(settings.names[0].find, Some(Vec::new()), "nobody");
}

#[test]
fn faults_are_reported_with_place_and_help() {
    let check = |line: &str, expected: &str| {
        let text = format!("[names]\n{line}\n");
        let told = match read(&text, "m") {
            Ok((_, warnings)) => warnings.to_string(),
            Err(diagnostics) => diagnostics.to_string(),
        };
        assert!(told.contains(expected), "{line}\n{told}");
    };
    check(r#"feed = "user:feed""#, "m:2:8: error: found a string where a rule is expected");
    check(r#"feed = { registers = ["any"] }"#, "did you mean `register`?");
    check(r#"feed = { register = ["feed"] }"#, "write `user:feed` or `group:feed`");
    check(r#"feed = { find = "none" }"#, "write `[]`: an empty list names nobody");
    check(r#"feed = { register = ["Nobody"] }"#, "write `[]`: an empty list names nobody");
    check(r#"feed = { register = ["address:10.0.0.0/33"] }"#, "does not name an owner");
    check(r#"feed = { register = 7 }"#, "found a number where a list is expected");
    check(r#"feed = { max_instances = 0 }"#, "write 1 or more");
    check(r#"feed = { exclusive = "yes" }"#, "`true` or `false` is expected");
    check(r#""two words" = { exclusive = true }"#, "m:2:1: error: ");
    check(r#"feed = { exclusive = true, max_instances = 2 }"#, "warning: `exclusive` allows one");
    check("\"a*\" = { exclusive = true }\n\"*b\" = {}", "`a*` and `*b` are equally specific");
    check("\"a?\" = {}\n\"?b\" = {}", "m:3:1: error: `a?` and `?b` are");
    let crowd = ["any"; 65].map(|it| format!("{it:?}")).join(", ");
    check(&format!("feed = {{ find = [{crowd}] }}"), "name a group that they are all in");
    let many: String = (0..257).map(|it| format!("n{it} = {{}}\n")).collect();
    check(&many, "m:258:1: error: there are 257 rules of names");
    let told = read("[registrar]\nnames = \"mine\"\n", "m").unwrap_err().to_string();
    assert!(told.contains("`same-user`"), "{told}");
    // What is written in the place of a rule, or of owners, is meant by the rule that is proposed.
    let follow = |written: &str, proposed: &str| {
        let found = read(&format!("[names]\nfeed = {written}\n"), "m").unwrap_err().0;
        assert_eq!(found.len(), 1, "{written}: {found:?}");
        let help = found[0].help.clone().unwrap();
        assert_eq!(help, format!("write {proposed}"), "for {written}");
        let rule = match proposed.strip_prefix("feed = ") {
            Some(rule) => rule.to_owned(),
            None if proposed.contains(" = ") => format!("{{ {proposed} }}"),
            None => format!("{{ register = [{proposed}] }}"),
        };
        read(&format!("[names]\nfeed = {rule}\n"), "m").unwrap();
    };
    follow("true", "feed = { exclusive = true }");
    follow("false", "feed = { exclusive = false }");
    follow("3", "feed = { max_instances = 3 }");
    follow("0", "feed = { exclusive = true }");
    follow("1.5", "feed = { exclusive = true }");
    follow("\"exclusive\"", "feed = { exclusive = true }");
    follow("\"alice\"", "feed = { register = [\"user:alice\"] }");
    follow("\"everyone\"", "feed = { register = [\"any\"] }");
    follow("[\"user:root\"]", "feed = { register = [\"user:root\"] }");
    follow("[\"user:root\", \"gid:7\"]", "feed = { register = [\"user:root\", \"group:7\"] }");
    follow("[\"two words\"]", "feed = { register = [\"any\"] }");
    follow("{ register = true }", "register = [\"any\"]");
    follow("{ find = 1000 }", "find = [\"user:1000\"]");
    follow("{ register = [1000] }", "\"user:1000\"");
    // Rules without a name in common do not conflict.
    read("[names]\n\"a*\" = {}\n\"b*\" = {}\nfeed = {}\n\"fee*\" = {}\n", "m").unwrap();
}
