//! Types that stand for the values of the settings in the schema.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::keys::{COUNTS, HEARTBEAT_MISSES, Limits, SESSIONS_MAX};

/// Declares a type that stands for a value in the schema: `shared` if it is written once
/// and referred to, `inline` if it is written where it is used.
macro_rules! value {
    (shared $name:ident, $schema:expr) => {
        value!(false, $name, $schema);
    };
    (inline $name:ident, $schema:expr) => {
        value!(true, $name, $schema);
    };
    ($inline:literal, $name:ident, $schema:expr) => {
        pub(crate) struct $name;

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn inline_schema() -> bool {
                $inline
            }

            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                let schema: fn(&mut SchemaGenerator) -> Schema = $schema;
                schema(generator)
            }
        }
    };
}

value!(inline Actors, |generator| json_schema!({
    "type": "object",
    "propertyNames": {
        "description": "A name has 1 to 255 bytes without white space, control or invisible \
                        characters, `/`, `*` or `?`, does not begin with `-`, and is not `.` or \
                        `..`.",
        "pattern": r"^(?!-|\.\.?$)[^\s\x00-\x1f\x7f/*?]{1,255}$",
    },
    "additionalProperties": generator.subschema_for::<Endpoints>(),
}));

value!(shared Endpoints, |generator| json_schema!({
    "description": "Where an actor listens: an endpoint, or a list of them.",
    "anyOf": [
        generator.subschema_for::<Multiaddr>(),
        generator.subschema_for::<HostPort>(),
        {
            "type": "array",
            "items": {
                "anyOf": [
                    generator.subschema_for::<Multiaddr>(),
                    generator.subschema_for::<HostPort>(),
                ],
            },
        },
    ],
}));

value!(inline OneOrMoreEndpoints, |generator| json_schema!({
    "allOf": [generator.subschema_for::<Endpoints>()],
    "not": { "type": "array", "maxItems": 0 },
}));

value!(shared Multiaddr, |_| json_schema!({
    "description": "An endpoint as a multiaddr.",
    "type": "string",
    "pattern": "^/(unix|ip4|ip6|ip6zone|dns|dns4|dns6|memory)/.",
    "examples": [
        "/unix/run/feed.sock",
        "/unix/@feed",
        "/ip4/127.0.0.1/tcp/5555",
        "/ip6/::1/tcp/5555",
        "/ip6zone/eth0/ip6/fe80::1/tcp/5555",
        "/dns/feed.example/tcp/5555/tls",
        "/memory/7",
    ],
}));

value!(shared HostPort, |_| json_schema!({
    "description": "An endpoint as a pair: an IP address or a host name, and a port.",
    "type": "array",
    "items": [
        { "type": "string", "pattern": "^[^/]+$" },
        { "type": "integer", "minimum": 0, "maximum": 65535 },
    ],
    "minItems": 2,
    "maxItems": 2,
    "examples": [["127.0.0.1", 5555]],
}));

value!(inline Duration, |_| json_schema!({
    "type": "string",
    "pattern": r"^\s*([0-9]+(\.[0-9]+)?\s*[a-zµ]+\s*)+$",
    "examples": ["500ms", "5s", "2min", "1h 30min"],
}));

value!(inline NamesWord, |_| json_schema!({
    "type": "string",
    "enum": ["same-user", "open"],
}));

value!(inline HostIdText, |_| json_schema!({
    "type": "string",
    "pattern": r"^[^\s\x00-\x1f\x7f]{1,255}$",
    "examples": ["rack7-node3"],
}));

value!(inline SocketMode, |_| json_schema!({
    "type": "string",
    "pattern": "^0?[0-7]{3}$",
    "examples": ["0600", "0660", "0666"],
}));

value!(inline SocketGroupText, |_| json_schema!({
    "type": "string",
    "pattern": r"^[^\s\x00-\x1f\x7f:]+$",
    "examples": ["callsign", "1000"],
}));

value!(inline QuotaTable, |generator| {
    let owner = generator.subschema_for::<OwnerQuota>();
    let mut table = owner_quota();
    let whose = r"^(trusted|user:[^\s:]+|address:[0-9A-Fa-f.:]+)$";
    table.insert("patternProperties".to_owned(), serde_json::json!({ whose: owner }));
    table
});

value!(shared OwnerQuota, |_| owner_quota());

/// Describes what may be said of an owner.
fn owner_quota() -> Schema {
    let mut keys = serde_json::Map::new();
    for Limits { key, min, max, .. } in COUNTS {
        let count = serde_json::json!({ "type": "integer", "minimum": min, "maximum": max });
        keys.insert(key.to_owned(), count);
    }
    let size = serde_json::json!({
        "type": "string",
        "pattern": r"^\s*[0-9]+\s*(KiB|MiB|GiB)\s*$",
        "examples": ["64MiB", "1GiB"],
    });
    keys.insert("bytes".to_owned(), size);
    json_schema!({ "type": "object", "properties": keys, "additionalProperties": false })
}

value!(inline HeartbeatMisses, |_| json_schema!({
    "type": "integer",
    "minimum": HEARTBEAT_MISSES.min,
    "maximum": HEARTBEAT_MISSES.max,
    "default": HEARTBEAT_MISSES.default,
}));

value!(inline SessionsMax, |_| json_schema!({
    "type": "integer",
    "minimum": SESSIONS_MAX.min,
    "maximum": SESSIONS_MAX.max,
    "default": SESSIONS_MAX.default,
}));
