//! Properties that hold for every text, however far from a settings file.

use std::path::Path;

use config::{Diagnostics, Layer, Overrides, Settings, overlay, read, registrars};
use proptest::prelude::*;

proptest! {
    #[test]
    fn no_text_panics(source in any::<String>()) {
        read_and_check(&source)?;
    }

    #[test]
    fn no_near_miss_panics(source in near_settings()) {
        read_and_check(&source)?;
    }

    #[test]
    fn no_override_panics(value in prop_oneof![any::<String>(), "[/a-z0-9,\u{3000} ]{0,20}"]) {
        let environment = Overrides::from_environment(|_| Some(value.clone()));
        let flags = Overrides { listen: vec![value.clone()], ..Overrides::none(Layer::Flags) };
        if let Err(diagnostics) = overlay(Settings::default(), &[environment, flags]) {
            check_faults(&diagnostics)?;
        }
        if let Err(diagnostics) = registrars(&[], Some(&value), &[], Path::new(&value)) {
            check_faults(&diagnostics)?;
        }
    }
}

fn read_and_check(source: &str) -> Result<(), TestCaseError> {
    match read(source, "test.toml") {
        Ok((settings, warnings)) => {
            check_faults(&warnings)?;
            prop_assert!(!warnings.has_errors());
            prop_assert!(toml::de::DeTable::parse(source).is_ok());
            // Accepted settings can be written and read again.
            for (_, endpoints) in settings.network.iter() {
                for endpoint in endpoints {
                    prop_assert_eq!(&endpoint.to_string().parse(), &Ok(endpoint.clone()));
                }
            }
        }
        Err(diagnostics) => {
            check_faults(&diagnostics)?;
            prop_assert!(diagnostics.has_errors());
        }
    }
    Ok(())
}

/// Every place can be shown, and every message fits on one line.
fn check_faults(diagnostics: &Diagnostics) -> Result<(), TestCaseError> {
    for diagnostic in &diagnostics.0 {
        let related = diagnostic.related.iter().map(|it| &it.place);
        for place in related.chain([&diagnostic.place]) {
            prop_assert!(place.source.text.get(place.span.clone()).is_some(), "{diagnostic:?}");
        }
        prop_assert!(!diagnostic.message.contains('\n'), "{diagnostic:?}");
        prop_assert!(
            !diagnostic.help.as_deref().unwrap_or_default().contains('\n'),
            "{diagnostic:?}"
        );
    }
    Ok(())
}

/// Texts composed of parts of settings files.
fn near_settings() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        4 => "\n?\\[{0,2}(registrar|network|declared|netwrok|network[.]a|\"\")\\]{0,2}\n",
        4 => "\n(listen|heartbeat|sessions_max|handshake_timeout|feed|a[.]b|\"ö\"|'x y'|\"\\\\n\") ?= ?",
        4 => "(\"|'|\"\"\")(/unix/%?[a@/ö]{0,4}|/ip4/[01.]{0,9}/tcp/[0-9]{0,6}|5 ?[smy]?)(\"|'|\"\"\")",
        2 => "[\\[\\]{},=\"'#\\\\]",
        1 => "(true|1979-05-27|1.5|0x7f|-1|99999999999999999999|inf)",
        1 => "\\PC",
        1 => "[\u{a0}\u{3000}\u{85}\u{200b}`]{1,2}",
        1 => "\r?\n",
    ];
    proptest::collection::vec(part, 0..24).prop_map(|parts| parts.concat())
}
