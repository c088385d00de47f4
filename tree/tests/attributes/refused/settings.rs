//! Programs whose settings file cannot be found.

mod no_way {
    #[callsign_tree::main(config())]
    async fn main(root: callsign_tree::Root) {}
}

mod another_way {
    #[callsign_tree::main(config(registry = "HKEY_LOCAL_MACHINE"))]
    async fn main(root: callsign_tree::Root) {}
}

mod twice {
    #[callsign_tree::main(config(env = "ONE", env = "TWO"))]
    async fn main(root: callsign_tree::Root) {}
}

mod without_dashes {
    #[callsign_tree::main(config(flag = "config"))]
    async fn main(root: callsign_tree::Root) {}
}

mod empty {
    #[callsign_tree::main(config(env = ""))]
    async fn main(root: callsign_tree::Root) {}
}

mod without_a_value {
    #[callsign_tree::main(config(file))]
    async fn main(root: callsign_tree::Root) {}
}

mod of_no_attribute {
    #[callsign_tree::export(config(file = "callsign.toml"))]
    async fn double(number: u64) -> u64 {
        2 * number
    }
}

fn main() {}
