//! Optional fields: nil is as good as none.

use serde::{Deserialize, Deserializer};

/// Reads an optional field that has a default.
pub(crate) fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    from: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}
